from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.frames import sphere_frame
from v2vpose.errors import InvalidDepthMapError
from v2vpose.training.recipe import Recipe
from v2vpose.values import DepthArray, Handedness, Intrinsics


@dataclass(frozen=True)
class Ball:
    """A labelled frame whose keypoints are points of a ball."""

    depth_mm: DepthArray
    intrinsics: Intrinsics
    keypoints_mm: NDArray[np.float64]
    handedness: Handedness
    centre_mm: NDArray[np.float64] | None = None


def ball_frame(index: int) -> Ball:
    rng = np.random.default_rng(index)
    x, y, z = (float(c) for c in rng.uniform((-60, -40, 400), (60, 40, 700)))
    frame = sphere_frame((x, y, z), radius_mm=50, hw=(120, 160),
                         intrinsics=Intrinsics(120, 120, 80, 60))  # fmt: skip
    points = np.array([[x, y, z - 50], [x + 50, y, z], [x - 50, y, z]])
    hand = Handedness.LEFT if index % 2 else Handedness.RIGHT
    return Ball(frame.depth_mm, frame.intrinsics, points, hand)


@dataclass(frozen=True)
class Balls:
    """Balls as a training set; some of its places cannot be read."""

    count: int = 128
    broken: tuple[int, ...] = ()
    origin: str = "balls"

    def __len__(self) -> int:
        return self.count

    def frame(self, place: int) -> Ball:
        if place in self.broken:
            raise InvalidDepthMapError(f"frame {place} is broken")
        return ball_frame(place)


@pytest.fixture
def tiny() -> Recipe:
    return Recipe(
        input_side=16,
        width=2,
        optimiser="adam",
        learning_rate=3e-3,
        batch=8,
        block=16,
        epochs=2,
        rotation_deg=0,
        scale=(1.0, 1.0),
        refiner="wide",
        refiner_views=1,
        detector=True,
    )
