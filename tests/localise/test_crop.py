import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.frames import CAMERA, sphere_frame
from v2vpose.geometry.camera import camera_from_pixel, shifted
from v2vpose.geometry.cubic_box import CubicBox
from v2vpose.localise import CROP_PX, refiner_crop, target_crop
from v2vpose.voxel import voxelize

centers = st.tuples(st.floats(-200, 200), st.floats(-150, 150), st.floats(150, 1200))


@given(centers, st.integers(0, 2**32 - 1))
def test_a_window_shows_a_cube_all_that_the_whole_frame_shows_it(center, seed):
    rng = np.random.default_rng(seed)
    frame = sphere_frame((0, 0, 500))
    frame.depth_mm[...] = rng.uniform(100, 1500, frame.hw)
    crop = target_crop(frame, np.array(center), side_mm=250, reach_mm=275)
    box = CubicBox(np.array(center) + rng.uniform(-150, 150, 3), 250)
    whole = voxelize(frame.depth_mm, frame.intrinsics, box, input_side=16)
    window = voxelize(crop.depth_mm, crop.intrinsics, box, input_side=16)
    assert np.count_nonzero(whole != window) <= 1  # one rounding of a shifted principal point


def test_a_window_is_smaller_than_the_frame_for_a_far_target():
    frame = sphere_frame((0, 0, 1200), hw=(480, 640))
    crop = target_crop(frame, np.array([0, 0, 1200.0]), side_mm=250, reach_mm=275)
    assert crop.depth_mm.size < frame.depth_mm.size / 4


def test_a_target_outside_the_image_still_gives_a_window_of_a_pixel():
    frame = sphere_frame((0, 0, 500))
    crop = target_crop(frame, np.array([5000.0, 0, 500]), side_mm=250, reach_mm=275)
    assert crop.depth_mm.size >= 1


def test_the_refiner_sees_a_plane_at_the_reference_point_as_zero():
    frame = sphere_frame((0, 0, 500), radius_mm=1, wall_mm=600)
    crop = refiner_crop(frame.depth_mm, frame.intrinsics, np.array([0, 0, 600.0]), side_mm=300)
    assert crop.shape == (CROP_PX, CROP_PX)
    np.testing.assert_allclose(crop[:20], 0, atol=1e-6)


def test_the_refiner_sees_nearer_as_negative_and_nothing_as_one():
    frame = sphere_frame((0, 0, 500))
    crop = refiner_crop(frame.depth_mm, frame.intrinsics, np.array([0, 0, 500.0]), side_mm=300)
    np.testing.assert_allclose(crop[64, 64], (440 - 500) / 150, atol=0.01)
    assert crop[0, 0] == 1


def test_the_refiner_clips_what_is_before_its_cube_and_drops_what_is_behind():
    frame = sphere_frame((0, 0, 500), wall_mm=1000)
    near = refiner_crop(frame.depth_mm, CAMERA, np.array([0, 0, 800.0]), side_mm=300)
    assert near[64, 64] == -1  # the ball, 360 mm before the point
    assert near[0, 0] == 1  # the wall, 200 mm behind it


def test_the_crop_has_the_cube_width_whatever_the_depth():
    for z_mm in (300.0, 900.0):
        frame = sphere_frame((0, 0, z_mm))
        crop = refiner_crop(frame.depth_mm, CAMERA, np.array([0, 0, z_mm]), side_mm=300)
        columns = np.flatnonzero((crop < 1).any(axis=0))
        width_mm = (columns[-1] - columns[0] + 1) * 300 / CROP_PX
        np.testing.assert_allclose(width_mm, 120, atol=8)


@given(st.integers(0, 100), st.integers(0, 80))
def test_a_window_and_the_whole_frame_give_the_refiner_the_same(u0, v0):
    frame = sphere_frame((20, 10, 600), wall_mm=650)
    point = camera_from_pixel(np.array([160.0, 120.0]), np.array(600.0), CAMERA)
    whole = refiner_crop(frame.depth_mm, CAMERA, point, side_mm=120)
    window = refiner_crop(
        np.ascontiguousarray(frame.depth_mm[v0:, u0:]),
        shifted(CAMERA, u0_px=u0, v0_px=v0),
        point,
        side_mm=120,
    )
    np.testing.assert_array_equal(whole, window)
