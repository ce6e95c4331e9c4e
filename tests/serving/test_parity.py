"""What is served equals the estimator, alone or in a batch, whatever the mates are."""

import asyncio

import numpy as np
import pytest

from tests.frames import sphere_frame
from v2vpose.errors import PoseError
from v2vpose.estimator import Estimator, Options
from v2vpose.model_store import ModelStore, ModelVersion
from v2vpose.serving.engines.local import local_engine
from v2vpose.serving.pipeline import ServingPolicy
from v2vpose.serving.ports import Engine
from v2vpose.serving.scheduler import BatchPolicy
from v2vpose.values import Decode, DepthFrame, Handedness, Hint, Intrinsics, Pose

REQUESTS = 24
TOLERANCE_MM = 0.01


def request(rng: np.random.Generator) -> tuple[DepthFrame, Options]:
    """A ball somewhere, seen by some camera, asked for in some way."""
    hw = (int(rng.integers(60, 260)), int(rng.integers(80, 340)))
    focal_px = float(rng.uniform(150, 500))
    camera = Intrinsics(focal_px, focal_px * rng.uniform(0.95, 1.05), hw[1] / 2, hw[0] / 2)
    x, y, z = rng.uniform(-40, 40), rng.uniform(-40, 40), rng.uniform(350, 700)
    wall_mm = float(rng.choice([0.0, 1200.0]))
    frame = sphere_frame((x, y, z), wall_mm=wall_mm, hw=hw, intrinsics=camera)
    hints = (Hint(), Hint(reference_point_mm=(x, y, z)), Hint(range_mm=(100.0, z + 100)))
    epochs = tuple((1 + rng.permutation(3)[: rng.integers(1, 4)]).tolist())
    return frame, Options(
        hint=hints[rng.integers(3)],
        handedness=(None, Handedness.LEFT, Handedness.RIGHT)[rng.integers(3)],
        side_mm=(None, 200.0)[rng.integers(2)],
        decode=(None, Decode.ARGMAX, Decode.SUBVOXEL)[rng.integers(3)],
        epochs=(None, epochs)[rng.integers(2)],
    )


def torch_engine(version: ModelVersion) -> Engine:
    return local_engine(version, backend="torch", max_batch_size=4)


@pytest.mark.parametrize("seed", [0])
async def test_batched_equals_single_equals_estimator(serve, store: ModelStore, seed):
    policy = BatchPolicy(max_batch_size=4, max_queue_delay_s=0.05)
    bench = await serve(engine=torch_engine, policy=ServingPolicy(batch=policy))
    estimator = Estimator.load(store.open("hand", "1"), backend="torch")
    rng = np.random.default_rng(seed)
    requests = [request(rng) for _ in range(REQUESTS)]
    together = await asyncio.gather(
        *(bench.pipeline.estimate(frame, options) for frame, options in requests),
        return_exceptions=True,
    )
    assert bench.value("batch_size_count") < REQUESTS  # some travelled together
    for (frame, options), batched in zip(requests, together, strict=True):
        if isinstance(batched, PoseError):
            with pytest.raises(type(batched)):
                estimator.estimate(frame, options)
            continue
        expected = estimator.estimate(frame, options)
        alone = await bench.pipeline.estimate(frame, options)
        assert not isinstance(batched, BaseException)
        for found in (batched.pose, alone.pose):
            assert_same(found, expected)


def assert_same(found: Pose, expected: Pose) -> None:
    assert found.answered == expected.answered
    assert found.handedness == expected.handedness
    for name in ("keypoints_mm", "refined_point_mm", "spread_mm"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), atol=TOLERANCE_MM, err_msg=name
        )
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-5)
