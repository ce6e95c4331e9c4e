import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.frames import CAMERA, sphere_frame
from v2vpose.evaluation.picture import DrawnPose, colour_of, picture_png
from v2vpose.geometry.camera import pixel_from_camera
from v2vpose.values import DepthFrame

CENTER = (10.0, 20.0, 500.0)
NAMES = ("wrist", "thumb_tip", "index_tip")
POINTS_MM = np.array(CENTER) + np.array([[0, 50, 0], [-50, 0, -10], [40, -40, 0]])


def drawn(points_mm: NDArray[np.float64] = POINTS_MM, side_mm: float = 250.0) -> DrawnPose:
    return DrawnPose(
        names=NAMES,
        skeleton=[(0, 1), (0, 2)],
        keypoints_mm=points_mm,
        uv_px=pixel_from_camera(points_mm, CAMERA),
        confidence=np.array([0.9, 0.8, 0.7]),
        center_mm=np.array(CENTER),
        side_mm=side_mm,
        title="hand · version 1",
    )


def picture(frame: DepthFrame, pose: DrawnPose) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(picture_png(frame, pose), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image.astype(np.uint8)


def test_fingers_have_colours_and_the_palm_has_none() -> None:
    colours = [colour_of(name) for name in NAMES]
    assert len(set(colours)) == 3
    assert colour_of("thumb_tip") == colour_of("thumb_mcp") != colour_of("torso") == colours[0]


def test_the_skeleton_is_drawn_in_its_colours_on_both_sides() -> None:
    image = picture(sphere_frame(CENTER, wall_mm=900.0), drawn())
    assert image.shape == (879, 1680, 3)
    is_thumb = (image[..., 2] > 200) & (image[..., 1] < 130) & (image[..., 0] < 130)
    assert is_thumb[:, :840].sum() > 100
    assert is_thumb[:, 840:].sum() > 100


@pytest.mark.parametrize(
    ("frame", "pose"),
    [
        (sphere_frame(CENTER, hw=(2, 3)), drawn()),
        (sphere_frame((900.0, 0.0, 500.0)), drawn(POINTS_MM + np.array([900.0, 0, 0]))),
        (sphere_frame(CENTER), drawn(POINTS_MM * np.array([1, 1, -1]))),
        (sphere_frame(CENTER), drawn(side_mm=5000.0)),
        (DepthFrame(np.zeros((24, 32), np.float32), CAMERA), drawn()),
    ],
)
def test_odd_frames_and_poses_are_drawn_as_well(frame: DepthFrame, pose: DrawnPose) -> None:
    assert picture(frame, pose).shape == (879, 1680, 3)
