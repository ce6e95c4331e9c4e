import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.frames import sphere_frame
from v2vpose.geometry.camera import camera_from_pixel
from v2vpose.geometry.cubic_box import CubicBox, voxel_from_camera
from v2vpose.training.augment import IDENTITY, Similarity, random_similarity, voxelize_moved
from v2vpose.training.recipe import Recipe
from v2vpose.voxel import voxelize

FRAME = sphere_frame((20, -10, 500), wall_mm=580)
CENTER_MM = np.array([15.0, 0.0, 480.0])


def moved_occupancy(similarity: Similarity) -> np.ndarray:
    return voxelize_moved(
        FRAME.depth_mm, FRAME.intrinsics, CENTER_MM, 250.0, similarity, input_side=48
    )


def test_without_a_move_training_sees_exactly_what_serving_sees():
    served = voxelize(FRAME.depth_mm, FRAME.intrinsics, CubicBox(CENTER_MM, 250), input_side=48)
    np.testing.assert_array_equal(moved_occupancy(IDENTITY), served)
    assert served.sum() > 1000


@given(st.floats(-math.pi, math.pi), st.floats(0.7, 1.3), st.tuples(*[st.floats(-8, 8)] * 3))
def test_readings_and_keypoints_move_alike(angle, scale, shift):
    similarity = Similarity(angle, scale, np.array(shift))
    rows, cols = np.nonzero(FRAME.depth_mm)
    points_mm = camera_from_pixel(
        np.stack([cols, rows], axis=-1).astype(float), FRAME.depth_mm[rows, cols].astype(float),
        FRAME.intrinsics,
    )  # fmt: skip
    box = CubicBox(CENTER_MM, 250)
    moved_vox = similarity.move(voxel_from_camera(points_mm, box, input_side=48), input_side=48)
    x, y, z = np.floor(moved_vox).astype(int).T
    inside = ((moved_vox >= 0) & (moved_vox < 48)).all(axis=1)
    expected = np.zeros((48, 48, 48), np.uint8)
    expected[z[inside], y[inside], x[inside]] = 1
    different = np.count_nonzero(expected != moved_occupancy(similarity))
    assert different <= 4  # readings that rounding puts on either side of a face


def test_a_quarter_turn_takes_x_to_y():
    quarter = Similarity(math.pi / 2, 1.0, np.zeros(3))
    np.testing.assert_allclose(
        quarter.move(np.array([34.0, 24.0, 7.0]), input_side=48), [24, 34, 7]
    )


def test_draws_stay_in_the_papers_ranges_and_fill_them():
    recipe = Recipe()  # +-40 degrees, 0.8..1.2, +-8 voxels of 88
    rng = np.random.default_rng(5)
    draws = [random_similarity(recipe, rng) for _ in range(2000)]
    angles = np.degrees([d.angle_rad for d in draws])
    scales = np.array([d.scale for d in draws])
    shifts = np.array([d.shift_vox for d in draws])
    for values, low, high in ((angles, -40, 40), (scales, 0.8, 1.2), (shifts, -8, 8)):
        assert low <= values.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < values.max() <= high


def test_a_shift_means_the_same_share_of_the_box_on_any_grid():
    small = random_similarity(Recipe(input_side=44), np.random.default_rng(1))
    large = random_similarity(Recipe(input_side=88), np.random.default_rng(1))
    np.testing.assert_allclose(small.shift_vox * 2, large.shift_vox)
