"""What is served equals the estimator, alone or in a batch, whatever the mates are."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from tests.frames import sphere_frame
from tests.stores import write_tiny_store
from v2vpose.errors import PoseError
from v2vpose.estimator import Estimator, Options
from v2vpose.model_store import HandednessJudge, ModelStore, ModelVersion
from v2vpose.serving.engines.local import local_engine
from v2vpose.serving.pipeline import Estimate, Pipeline, ServingPolicy
from v2vpose.serving.ports import Engine
from v2vpose.serving.scheduler import BatchPolicy
from v2vpose.telemetry import Telemetry
from v2vpose.values import Decode, DepthFrame, Handedness, Hint, Intrinsics, Pose

TOLERANCE_MM = 0.01
Outcomes: TypeAlias = tuple[Pose | PoseError, ...]
Request: TypeAlias = tuple[DepthFrame, Options]


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """A ball somewhere, seen by some camera, asked for in some way."""
    hw = draw(st.integers(60, 260)), draw(st.integers(80, 340))
    fx_px, squeeze = draw(st.floats(150, 500)), draw(st.floats(0.95, 1.05))
    cx_px, cy_px = draw(st.floats(0.4, 0.6)) * hw[1], draw(st.floats(0.4, 0.6)) * hw[0]
    camera = Intrinsics(fx_px, fx_px * squeeze, cx_px, cy_px)
    x, y, z = draw(st.floats(-60, 60)), draw(st.floats(-40, 40)), draw(st.floats(350, 700))
    wall_mm = draw(st.sampled_from((0.0, 1200.0)))
    frame = sphere_frame((x, y, z), wall_mm=wall_mm, hw=hw, intrinsics=camera)
    points = Hint(reference_point_mm=(x, y, z)), Hint(reference_point_mm=(x + 30, y, z - 20))
    place: dict[str, Any] = draw(
        st.sampled_from(
            (
                {},
                {"hint": points[0]},
                {"hint": Hint(range_mm=(100.0, z + 100))},
                {"hints": points},
                {"targets": 2},
            )
        )
    )
    return frame, Options(
        **place,
        handedness=draw(st.sampled_from((None, Handedness.LEFT, Handedness.RIGHT))),
        side_mm=draw(st.sampled_from((None, 200.0))),
        decode=draw(st.sampled_from((None, Decode.ARGMAX, Decode.SUBVOXEL))),
        epochs=draw(st.sampled_from((None, (1,), (1, 3), (2,), (2, 3)))),
        with_slices=draw(st.booleans()),
    )


def torch_engine(version: ModelVersion) -> Engine:
    return local_engine(version, backend="torch", max_batch_size=4)


@dataclass(frozen=True)
class Both:
    """A service and an estimator of one model version, with detector and judge."""

    runner: asyncio.Runner
    pipeline: Pipeline
    telemetry: Telemetry
    estimator: Estimator

    def served(self, *asked: Request) -> list[Estimate | BaseException]:
        """What the service says of requests that come at once."""

        async def all_at_once() -> list[Estimate | BaseException]:
            return await asyncio.gather(
                *(self.pipeline.estimate(*each) for each in asked), return_exceptions=True
            )

        return self.runner.run(all_at_once())

    def batches(self) -> float:
        return self.telemetry.registry.get_sample_value("v2vpose_batch_size_count") or 0.0


DOUBTING = 0.6252  # the random nets are surer than that of about half of the balls


@pytest.fixture(
    scope="module",
    params=[(False, 0.0), (True, 0.0), (False, DOUBTING)],
    ids=["threshold", "detector", "doubting judge"],
)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Both]:
    root = tmp_path_factory.mktemp("store")
    with_detector, least = request.param
    judge = HandednessJudge(epoch=2, per_confidence=40, min_confidence=least)
    version = write_tiny_store(root, with_detector=with_detector, judge=judge)
    telemetry = Telemetry(CollectorRegistry())
    pipeline = Pipeline(
        ModelStore(root),
        {"hand": None},
        engine=torch_engine,
        policy=ServingPolicy(batch=BatchPolicy(max_batch_size=4, max_queue_delay_s=0.05)),
        telemetry=telemetry,
    )
    with asyncio.Runner() as runner:
        runner.run(pipeline.start())
        yield Both(runner, pipeline, telemetry, Estimator.load(version, backend="torch"))
        runner.run(pipeline.stop(grace_s=0))


@settings(max_examples=12)
@given(mix=st.lists(requests(), min_size=1, max_size=5))
def test_batched_equals_single_equals_estimator(both: Both, mix: list[Request]) -> None:
    for each, batched in zip(mix, both.served(*mix), strict=True):
        (alone,) = both.served(each)
        try:
            expected: Outcomes = both.estimator.estimate_all(*each)
        except PoseError as error:
            expected = (error,)
        for found in (batched, alone):
            assert_same(found, expected)


def test_requests_that_come_at_once_travel_together(both: Both) -> None:
    frame = sphere_frame((30.0, 0.0, 500.0))
    asked = (frame, Options(hint=Hint(reference_point_mm=(30.0, 0.0, 470.0))))
    before = both.batches()
    both.served(*[asked] * 12)
    assert both.batches() - before < 2 * 12  # each is judged, then answered


def assert_same(found: Estimate | BaseException, expected: Outcomes) -> None:
    if isinstance(found, BaseException):
        assert {type(found)} == {type(each) for each in expected}
        return
    for ours, theirs in zip(found.targets or (found.pose,), expected, strict=True):
        assert type(ours) is type(theirs)
        if isinstance(ours, Pose) and isinstance(theirs, Pose):
            assert_same_pose(ours, theirs)


def assert_same_pose(found: Pose, expected: Pose) -> None:
    assert found.answered == expected.answered
    assert (found.handedness is None) == (expected.handedness is None)
    if found.handedness and expected.handedness:
        assert found.handedness[0] is expected.handedness[0]
        np.testing.assert_allclose(found.handedness[1], expected.handedness[1], atol=1e-4)
    for name in ("keypoints_mm", "refined_point_mm", "spread_mm"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), atol=TOLERANCE_MM, err_msg=name
        )
    for epoch, member in expected.members.items():
        slices = found.members[epoch].heatmap_slices
        assert (slices is None) == (member.heatmap_slices is None)
        if slices is not None and member.heatmap_slices is not None:
            levels = slices.astype(int) - member.heatmap_slices
            assert np.abs(levels).max() <= 1
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-5)
