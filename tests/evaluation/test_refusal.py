import numpy as np
import pytest

from tests.stores import write_tiny_store
from v2vpose.datasets.synthetic import EmptyFrame, EmptyScenes, HandFrame, SyntheticHands
from v2vpose.datasets.synthetic.hands import HAND_KEYPOINTS
from v2vpose.errors import NothingToEstimateError
from v2vpose.estimator import Estimator
from v2vpose.evaluation.refusal import Refusals, refusals
from v2vpose.model_store import HandednessJudge, ModelVersion
from v2vpose.values import DepthFrame

FOUND = Refusals(
    model="hand 1",
    least=0.2,
    shows=("room", "ball", "room", "ball"),
    empty_sureness=np.array([-np.inf, 0.1, 0.3, 0.2]),
    target_sureness=np.array([0.5, 0.19, 0.4, -np.inf]),
    error_mm=np.array([10.0, 15.0, 40.0, np.inf]),
)


@pytest.fixture
def version(tmp_path) -> ModelVersion:
    judge = HandednessJudge(epoch=2, per_confidence=40)
    return write_tiny_store(tmp_path, names=HAND_KEYPOINTS, judge=judge)


def with_least(version: ModelVersion, least: float) -> ModelVersion:
    judge = HandednessJudge(epoch=2, per_confidence=40, min_confidence=least)
    manifest = version.manifest.model_copy(update={"judge": judge})
    return ModelVersion(manifest=manifest, directory=version.directory)


def test_shares_count_what_the_detector_did_not_see() -> None:
    assert FOUND.empty_percent(0.0) == 25.0
    assert FOUND.empty_percent(0.2) == 50.0
    assert FOUND.by_subject(0.2) == {"room": (2, 50.0), "ball": (2, 50.0)}
    assert FOUND.refused_percent(0.0) == 25.0
    assert FOUND.refused_percent(0.2) == 50.0
    assert FOUND.refused_percent(0.45, within_mm=20.0) == 50.0
    summary = FOUND.summary()
    assert summary["nothing_found_percent"] == 50.0
    assert summary["by_subject"]["ball"] == {"scenes": 2, "nothing_found_percent": 50.0}
    shares = [point["nothing_found_percent"] for point in summary["curve"]]
    assert shares == sorted(shares)


def test_every_threshold_refuses_what_the_estimator_would(version: ModelVersion) -> None:
    scenes = EmptyScenes(split="held_out", seed=3)
    hands = SyntheticHands(split="held_out", seed=3)
    count = 5
    found = refusals(
        with_least(version, 0.9),
        (scenes.frame(i) for i in range(count)),
        (hands.frame(i) for i in range(count)),
        backend="torch",
    )
    assert found.least == 0.9
    least = float(np.median(found.target_sureness))
    estimator = Estimator.load(with_least(version, least), backend="torch")

    def is_refused(frame: EmptyFrame | HandFrame) -> bool:
        try:
            estimator.estimate(DepthFrame(frame.depth_mm, frame.intrinsics))
        except NothingToEstimateError:
            return True
        return False

    empties, targets = found.empty_sureness < least, found.target_sureness < least
    assert [is_refused(scenes.frame(i)) for i in range(count)] == empties.tolist()
    assert [is_refused(hands.frame(i)) for i in range(count)] == targets.tolist()
    assert 0 < found.refused_percent(least) < 100
