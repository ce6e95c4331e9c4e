import numpy as np
import pytest

from v2vpose.datasets.synthetic import SyntheticHands
from v2vpose.datasets.synthetic.hands import HAND_KEYPOINTS
from v2vpose.evaluation.viewpoint import by_angle, palm_of, viewpoints_deg
from v2vpose.model_store.importers import known_set

PALM = (0, 1, 2)
RIGHT = np.array([False])
# A right hand upright before the camera, its palm towards it: the thumb, so the index finger,
# points to the camera's right. Wrist, index knuckle, little knuckle.
FACING = np.array([[[0, 40, 500], [30, -40, 500], [-30, -40, 500]]], dtype=np.float64)
CENTRE = np.array([0, 40, 500.0])  # the wrist, so that the camera stays straight ahead


def turned(degrees, axis):
    """The hand rotated about its wrist; positive about y: its right side goes away."""
    a = np.radians(degrees)
    c, s = np.cos(a), np.sin(a)
    matrix = {
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, -s], [0, 1, 0], [s, 0, c]],
    }[axis]
    return (FACING - CENTRE) @ np.array(matrix).T + [0, 0, 500]


@pytest.mark.parametrize("yaw_deg", [-120, -30, 0, 45, 150])
def test_yaw_is_the_side_of_the_palm_that_is_seen(yaw_deg):
    yaw, pitch = viewpoints_deg(turned(yaw_deg, "y"), PALM, RIGHT)
    np.testing.assert_allclose(np.abs(yaw), abs(yaw_deg), atol=1e-9)
    np.testing.assert_allclose(pitch, 0, atol=1e-9)


def test_when_the_index_finger_goes_away_the_little_fingers_side_is_seen():
    yaw, _ = viewpoints_deg(turned(40, "y"), PALM, RIGHT)
    assert turned(40, "y")[0, 1, 2] > 500  # the index finger's knuckle
    np.testing.assert_allclose(yaw, -40)


@pytest.mark.parametrize("pitch_deg", [-60, 0, 30, 80])
def test_pitch_is_how_far_the_fingers_point_at_the_camera(pitch_deg):
    hand = turned(pitch_deg, "x")
    yaw, pitch = viewpoints_deg(hand, PALM, RIGHT)
    np.testing.assert_allclose(pitch, pitch_deg, atol=1e-9)
    assert np.sign(500 - hand[0, 1, 2]) == np.sign(pitch_deg)  # knuckles nearer than the wrist
    np.testing.assert_allclose(yaw, 0, atol=1e-9)


def test_a_mirrored_hand_is_seen_from_the_same_viewpoint():
    hand = turned(40, "y") + np.array([20, 10, 0])
    mirrored = hand * [-1, 1, 1]
    right = viewpoints_deg(hand, PALM, RIGHT)
    left = viewpoints_deg(mirrored, PALM, ~RIGHT)
    np.testing.assert_allclose(left, right)


def test_a_generated_frame_and_its_mirror_image_agree():
    palm = palm_of(HAND_KEYPOINTS)
    assert palm is not None
    frame = SyntheticHands(split="held_out", seed=4).right_hand_frame(0)
    right = viewpoints_deg(frame.keypoints_mm[None], palm, RIGHT)
    left = viewpoints_deg(frame.mirrored().keypoints_mm[None], palm, ~RIGHT)
    np.testing.assert_allclose(left, right)


def test_frames_are_averaged_by_angle():
    angle = np.array([-90.0, -80, 0, 89, 90])
    found = by_angle(angle, np.array([1.0, 3, 10, 4, 6]), (-90, -45, 0, 45, 90))
    assert found.frames == (2, 0, 1, 2)
    assert found.mean_mm == (2, None, 10, 5)


@pytest.mark.parametrize(
    ("name", "palm"), [("msra", (0, 1, 13)), ("icvl", (0, 4, 13)), ("nyu", None), ("itop", None)]
)
def test_a_palm_is_found_by_its_names(name, palm):
    assert palm_of(known_set(name).keypoints) == palm
