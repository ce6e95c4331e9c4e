"""The cubic box and its two grids against hand-computed cases and the slow reference."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import reference
from v2vpose.errors import InvalidFieldError
from v2vpose.geometry.cubic_box import (
    CENTRED_CELL_OFFSET,
    RELEASE_CELL_OFFSET,
    CubicBox,
    camera_from_heatmap,
    camera_from_voxel,
    heatmap_from_camera,
    voxel_from_camera,
)

REF_MM = (10.0, -20.0, 600.0)
BOX = CubicBox(np.array(REF_MM), side_mm=176.0)  # voxels of 2 mm, heatmap cells of 4 mm

coordinate_mm = st.floats(-3000, 3000)
point_mm = st.tuples(coordinate_mm, coordinate_mm, coordinate_mm)
side_mm = st.floats(50, 3000)
grid_side = st.sampled_from([8, 48, 64, 88, 96])
cell_offset = st.sampled_from([CENTRED_CELL_OFFSET, RELEASE_CELL_OFFSET])


def test_the_reference_point_is_in_the_middle_of_the_voxel_grid() -> None:
    np.testing.assert_array_equal(
        voxel_from_camera(np.array(REF_MM), BOX, input_side=88), [44.0, 44.0, 44.0]
    )


def test_the_low_corner_is_voxel_coordinate_0_and_the_high_corner_is_88() -> None:
    corners_mm = np.array([[-78.0, -108.0, 512.0], [98.0, 68.0, 688.0]])
    np.testing.assert_array_equal(
        voxel_from_camera(corners_mm, BOX, input_side=88), [[0, 0, 0], [88, 88, 88]]
    )


def test_each_axis_has_its_own_place_in_voxel_coordinates() -> None:
    point = np.array([12.0, -16.0, 608.0])  # 1, 2 and 4 voxels from the middle
    np.testing.assert_array_equal(voxel_from_camera(point, BOX, input_side=88), [45, 46, 48])


def test_the_middle_of_the_box_lies_between_the_two_middle_cells() -> None:
    np.testing.assert_array_equal(
        heatmap_from_camera(np.array(REF_MM), BOX, heatmap_side=44), [21.5, 21.5, 21.5]
    )


def test_a_centred_cell_is_decoded_to_the_middle_of_its_two_voxels() -> None:
    cell_mm = camera_from_heatmap(np.array([0, 1, 43]), BOX, heatmap_side=44)
    np.testing.assert_allclose(cell_mm, [-78 + 2, -108 + 6, 688 - 2], atol=1e-9)


def test_a_release_cell_is_decoded_to_the_middle_of_its_first_voxel() -> None:
    cell_mm = camera_from_heatmap(
        np.array([0, 1, 43]), BOX, heatmap_side=44, cell_offset=RELEASE_CELL_OFFSET
    )
    np.testing.assert_allclose(cell_mm, [-78 + 1, -108 + 5, 688 - 3], atol=1e-9)


def random_points(count: int) -> list[reference.Point]:
    rng = np.random.default_rng(10)
    low, high = np.array(REF_MM) - 120, np.array(REF_MM) + 120
    return [(float(x), float(y), float(z)) for x, y, z in rng.uniform(low, high, (count, 3))]


def test_floor_of_the_voxel_coordinate_is_the_reference_voxel_index() -> None:
    points = random_points(5000)
    index = np.floor(voxel_from_camera(np.array(points), BOX, input_side=88))
    expected = [reference.voxel_index(point, REF_MM, 176.0, 88) for point in points]
    np.testing.assert_array_equal(index, expected)


def test_floor_of_the_voxel_coordinate_is_the_released_code_s_voxel() -> None:
    points = random_points(5000)
    for side in (176.0, 200.0, 250.0, 2000.0):
        box = CubicBox(np.array(REF_MM), side)
        index = np.floor(voxel_from_camera(np.array(points), box, input_side=88))
        expected = [reference.release_voxel(point, REF_MM, side) for point in points]
        np.testing.assert_array_equal(index, expected)


def test_heatmap_coordinates_are_the_centred_labels_of_the_reference() -> None:
    points = random_points(200)
    expected = [reference.centred_label(point, REF_MM, 176.0) for point in points]
    labels = heatmap_from_camera(np.array(points), BOX, heatmap_side=44)
    np.testing.assert_allclose(labels, expected, rtol=0, atol=1e-12)


def test_warping_to_mm_equals_both_decodings_of_the_reference() -> None:
    cells = [(i, j, k) for i in (0.0, 21.0, 43.0) for j in (0.0, 7.0) for k in (1.0, 42.5)]
    for side in (200.0, 250.0):
        box = CubicBox(np.array(REF_MM), side)
        centred = camera_from_heatmap(np.array(cells), box, heatmap_side=44)
        expected = [reference.centred_decode(cell, REF_MM, side) for cell in cells]
        np.testing.assert_allclose(centred, expected, rtol=0, atol=1e-9)
        release = camera_from_heatmap(
            np.array(cells), box, heatmap_side=44, cell_offset=RELEASE_CELL_OFFSET
        )
        expected = [reference.release_decode(cell, REF_MM, side) for cell in cells]
        np.testing.assert_allclose(release, expected, rtol=0, atol=1e-9)


def test_argmax_reaches_from_minus_0_49432_to_plus_0_48295_of_the_released_cube() -> None:
    ends_mm = camera_from_heatmap(
        np.array([[0, 0, 0], [43, 43, 43]]),
        CubicBox(np.zeros(3), 1.0),
        heatmap_side=44,
        cell_offset=RELEASE_CELL_OFFSET,
    )
    np.testing.assert_allclose(ends_mm[:, 0], [-0.49432, 0.48295], atol=5e-6)


@given(point_mm, point_mm, side_mm, grid_side)
def test_camera_to_voxel_and_back_returns_the_point(
    point: reference.Point, center: reference.Point, side: float, grid: int
) -> None:
    box = CubicBox(np.array(center), side)
    ijk_vox = voxel_from_camera(np.array(point), box, input_side=grid)
    np.testing.assert_allclose(camera_from_voxel(ijk_vox, box, input_side=grid), point, atol=1e-8)


@given(point_mm, point_mm, side_mm, grid_side, cell_offset)
def test_camera_to_heatmap_and_back_returns_the_point(
    point: reference.Point, center: reference.Point, side: float, grid: int, offset: float
) -> None:
    box = CubicBox(np.array(center), side)
    xyz_cell = heatmap_from_camera(np.array(point), box, heatmap_side=grid // 2, cell_offset=offset)
    back_mm = camera_from_heatmap(xyz_cell, box, heatmap_side=grid // 2, cell_offset=offset)
    np.testing.assert_allclose(back_mm, point, atol=1e-8)


@given(point_mm, side_mm, grid_side)
def test_a_heatmap_cell_covers_two_voxels(point: reference.Point, side: float, grid: int) -> None:
    box = CubicBox(np.zeros(3), side)
    ijk_vox = voxel_from_camera(np.array(point), box, input_side=grid)
    xyz_cell = heatmap_from_camera(np.array(point), box, heatmap_side=grid // 2)
    np.testing.assert_allclose(xyz_cell, ijk_vox / 2 - 0.5, atol=1e-9)


@pytest.mark.parametrize("lead", [(), (4,), (2, 3), (0,), (2, 0)])
def test_every_leading_shape_goes_there_and_back(lead: tuple[int, ...]) -> None:
    points_mm = np.random.default_rng(11).uniform(-100, 100, (*lead, 3))
    ijk_vox = voxel_from_camera(points_mm, BOX, input_side=88)
    xyz_cell = heatmap_from_camera(points_mm, BOX, heatmap_side=44)
    assert ijk_vox.shape == xyz_cell.shape == (*lead, 3)
    np.testing.assert_allclose(camera_from_voxel(ijk_vox, BOX, input_side=88), points_mm, atol=1e-9)
    np.testing.assert_allclose(
        camera_from_heatmap(xyz_cell, BOX, heatmap_side=44), points_mm, atol=1e-9
    )


@pytest.mark.parametrize("side", [0.0, -250.0, math.nan, math.inf])
def test_a_box_without_a_positive_finite_side_is_refused(side: float) -> None:
    with pytest.raises(InvalidFieldError, match=rf"^side_mm must be > 0, got {side}$"):
        CubicBox(np.zeros(3), side)
