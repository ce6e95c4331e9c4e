import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.frames import CAMERA, sphere_frame
from v2vpose.geometry.camera import pixel_from_camera
from v2vpose.localise import detections, detector_image
from v2vpose.localise.detector import cell_from_pixel, pixel_from_cell
from v2vpose.values import DepthFrame, Intrinsics


def heat_at(cells: list[tuple[int, int, float]]) -> np.ndarray:
    heat = np.zeros((32, 40))
    for row, col, score in cells:
        heat[row, col] = score
    return heat


@pytest.mark.parametrize(
    ("hw", "shape"),
    [((240, 320), (3, 128, 160)), ((480, 640), (3, 128, 160)), ((424, 512), (3, 144, 160)),
     ((100, 120), (3, 112, 128))],
)  # fmt: skip
def test_the_image_keeps_the_aspect_and_is_padded_to_steps_of_16(hw, shape):
    assert detector_image(sphere_frame((0, 0, 500), hw=hw)).shape == shape


def test_channels_are_metres_a_reading_and_centimetres_a_pixel():
    frame = DepthFrame(np.full((480, 640), 600, np.float32), Intrinsics(600, 600, 320, 240))
    frame.depth_mm[:, :320] = 0
    image = detector_image(frame)
    np.testing.assert_allclose(image[:, 60, 100], [0.6, 1, 0.4])  # 4 px of 1 mm each
    np.testing.assert_array_equal(image[:, 60, 20], 0)
    np.testing.assert_array_equal(image[:, 120:], 0)  # padding


@given(st.floats(0, 639), st.floats(0, 479))
def test_cells_and_pixels_are_inverse(u, v):
    uv = np.array([u, v])
    back = pixel_from_cell(cell_from_pixel(uv, (480, 640)), (480, 640))
    np.testing.assert_allclose(back, uv, atol=1e-9)


def test_the_middle_of_the_first_cell_is_the_middle_of_its_pixels():
    # 640 wide: a cell stands for 16 pixels, 0..15, whose middle is 7.5
    np.testing.assert_allclose(pixel_from_cell(np.zeros(2), (480, 640)), 7.5)


def test_a_peak_comes_back_as_the_point_it_stands_for():
    frame = sphere_frame((0, 0, 500), hw=(240, 320))
    found = detections(heat_at([(12, 20, 0.9)]), np.full((32, 40), 0.5), frame, min_score=0.2)
    assert len(found) == 1
    surface_mm = np.median(frame.depth_mm[90:110, 155:170])
    np.testing.assert_allclose(found[0].xyz_mm[2], surface_mm + 22, atol=5)
    uv = pixel_from_camera(found[0].xyz_mm, CAMERA)
    np.testing.assert_allclose(uv, pixel_from_cell(np.array([20.0, 12.0]), (240, 320)))
    assert found[0].score == 0.9


def test_where_there_are_no_readings_the_nets_own_depth_is_taken():
    frame = DepthFrame(np.zeros((240, 320), np.float32), CAMERA)
    (found,) = detections(heat_at([(12, 20, 0.9)]), np.full((32, 40), 0.5), frame, min_score=0.2)
    np.testing.assert_allclose(found.xyz_mm[2], 500)


def test_readings_far_from_the_nets_depth_are_not_the_target():
    frame = DepthFrame(np.full((240, 320), 900, np.float32), CAMERA)
    (found,) = detections(heat_at([(12, 20, 0.9)]), np.full((32, 40), 0.5), frame, min_score=0.2)
    np.testing.assert_allclose(found.xyz_mm[2], 500)


def test_targets_come_best_first_and_weak_ones_not_at_all():
    heat = heat_at([(5, 5, 0.4), (20, 30, 0.8), (28, 3, 0.1)])
    found = detections(heat, np.full((32, 40), 0.5), sphere_frame((0, 0, 500)), min_score=0.2)
    assert [d.score for d in found] == [0.8, 0.4]


def test_a_peak_between_two_cells_lies_between_them():
    heat = heat_at([(12, 20, 0.6), (12, 21, 0.6)])
    frame = sphere_frame((0, 0, 500))
    (found,) = detections(heat, np.full((32, 40), 0.5), frame, min_score=0.2)
    uv = pixel_from_camera(found.xyz_mm, CAMERA)
    np.testing.assert_allclose(uv, pixel_from_cell(np.array([20.5, 12.0]), (240, 320)))


def test_peaks_at_the_border_are_read_too():
    heat = heat_at([(31, 39, 0.9), (0, 0, 0.7)])
    found = detections(heat, np.full((32, 40), 0.5), sphere_frame((0, 0, 500)), min_score=0.2)
    assert len(found) == 2
