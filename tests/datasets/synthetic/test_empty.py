"""Scenes without a hand: reproducible, worth looking at, and really without one."""

import numpy as np
import pytest

from v2vpose.datasets.synthetic import EmptyFrame, EmptyScenes
from v2vpose.datasets.synthetic.cameras import HELD_OUT_SLOTS
from v2vpose.datasets.synthetic.empty import MIN_READING_SHARE, SUBJECTS
from v2vpose.datasets.synthetic.furniture import chair, open_box, room
from v2vpose.datasets.synthetic.person import handless_person
from v2vpose.datasets.synthetic.solids import BODY, HEAD, Canvas, Solid

CAMERA = np.array([300.0, 300.0, 159.5, 119.5])
UP = np.array([0.0, -1.0, 0.0])
UPRIGHT = np.diag([1.0, -1.0, -1.0])  # rows right, up, facing the camera
FROM_ABOVE = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, -1.0, 0.0]])


@pytest.fixture(scope="module")
def frames() -> list[EmptyFrame]:
    scenes = EmptyScenes(split="held_out", seed=11)
    return [scenes.frame(i) for i in range(70)]


def drawn(solids: list[Solid]) -> Canvas:
    canvas = Canvas.blank(240, 320, CAMERA)
    for solid in solids:
        solid.draw(canvas)
    return canvas


def test_a_scene_is_a_function_of_split_seed_and_index(frames: list[EmptyFrame]) -> None:
    again = EmptyScenes(split="held_out", seed=11)
    for index in (5, 3):
        np.testing.assert_array_equal(again.frame(index).depth_mm, frames[index].depth_mm)
    for other in (EmptyScenes(split="held_out", seed=12), EmptyScenes(split="train", seed=11)):
        found = other.frame(3)
        assert found.intrinsics != frames[3].intrinsics


def test_subjects_take_turns_and_every_scene_has_readings(frames: list[EmptyFrame]) -> None:
    assert [frame.shows for frame in frames] == list(SUBJECTS) * 10
    for frame in frames:
        assert frame.depth_mm.dtype == np.float32
        assert np.isfinite(frame.depth_mm).all()
        assert (frame.depth_mm > 0).mean() >= MIN_READING_SHARE


def test_cameras_are_those_of_the_split(frames: list[EmptyFrame]) -> None:
    for frame in frames:
        ratio = frame.intrinsics.fx_px / frame.depth_mm.shape[1]
        assert any(low <= ratio <= high for low, high in HELD_OUT_SLOTS)


def test_an_open_box_is_deeper_inside_than_its_rim() -> None:
    size_mm = np.array([160.0, 90.0, 120.0])
    canvas = drawn(open_box(np.array([0.0, 0.0, 600.0]), FROM_ABOVE, size_mm))
    middle = canvas.depth[119, 159]
    assert middle == pytest.approx(600 + 45 - 2, abs=0.01)
    assert canvas.depth[np.isfinite(canvas.depth)].min() == pytest.approx(600 - 45, abs=0.01)


def test_a_chair_stands_below_and_above_its_seat_and_has_gaps() -> None:
    centre = np.array([0.0, 0.0, 1500.0])
    for seed in range(10):
        canvas = drawn(chair(np.random.default_rng(seed), centre, UPRIGHT))
        rows = np.flatnonzero(np.isfinite(canvas.depth).any(axis=1))
        assert rows[0] < 119 - 60
        assert rows[-1] > 119 + 60
        assert 0.03 < np.isfinite(canvas.depth).mean() < 0.35


def test_a_camera_is_inside_its_room() -> None:
    for seed in range(20):
        canvas = drawn(room(np.random.default_rng(seed), UP))
        below = canvas.depth[200:]  # looks down onto the floor, or onto a wall before it
        assert np.isfinite(below).all()
        assert below.min() > 100


def test_a_person_without_hands_is_all_body_and_head() -> None:
    for seed in range(10):
        solids = handless_person(np.random.default_rng(seed), np.array([0.0, 0.0, 1500.0]), UP)
        assert {solid.label for solid in solids} == {BODY, HEAD}
        assert np.isfinite(drawn(solids).depth).mean() > 0.05
