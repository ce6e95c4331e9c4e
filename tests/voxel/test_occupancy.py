"""Voxelization against hand-computed faces and, voxel for voxel, the slow reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests import reference
from v2vpose.geometry.camera import shifted
from v2vpose.geometry.cubic_box import CubicBox
from v2vpose.values import DepthArray, Intrinsics
from v2vpose.voxel import voxelize

ROWS, COLS = 24, 32
INTRINSICS = Intrinsics(fx_px=40.0, fy_px=44.0, cx_px=15.3, cy_px=11.6)
REF_MM = (5.0, -8.0, 400.0)

# A camera whose every number is exact: at a depth of 256 mm one pixel is one mm.
EXACT = Intrinsics(fx_px=256.0, fy_px=256.0, cx_px=100.0, cy_px=100.0)


def camera_of(intrinsics: Intrinsics) -> tuple[float, float, float, float]:
    return intrinsics.fx_px, intrinsics.fy_px, intrinsics.cx_px, intrinsics.cy_px


def voxels_of(occupancy: NDArray[np.uint8]) -> set[reference.Index]:
    return {(int(z), int(y), int(x)) for z, y, x in np.argwhere(occupancy)}


def assert_equals_the_reference(
    depth_mm: DepthArray,
    intrinsics: Intrinsics,
    ref_mm: reference.Point,
    *,
    side_mm: float,
    input_side: int,
) -> int:
    """Compare voxel for voxel; return how many are occupied."""
    box = CubicBox(np.array(ref_mm), side_mm)
    occupancy = voxelize(depth_mm, intrinsics, box, input_side=input_side)
    expected = np.zeros((input_side,) * 3, dtype=np.uint8)
    voxels = reference.occupied(
        depth_mm.tolist(), camera_of(intrinsics), ref_mm, side_mm, input_side
    )
    for voxel in voxels:
        expected[voxel] = 1
    assert occupancy.dtype == np.uint8
    np.testing.assert_array_equal(occupancy, expected)
    return len(voxels)


def random_depth(
    seed: int, *, near_mm: float = 280, far_mm: float = 520, missing: float = 0.1
) -> DepthArray:
    rng = np.random.default_rng(seed)
    depth_mm = rng.uniform(near_mm, far_mm, (ROWS, COLS)).astype(np.float32)
    depth_mm[rng.random((ROWS, COLS)) < missing] = 0
    return depth_mm


def one_reading(*, row: int, col: int, depth: float, shape: tuple[int, int]) -> DepthArray:
    depth_mm = np.zeros(shape, dtype=np.float32)
    depth_mm[row, col] = depth
    return depth_mm


def test_one_reading_occupies_one_voxel_indexed_z_y_x() -> None:
    # 3 px right, 5 px down at 256 mm, 1 mm behind the reference point; voxels of 1 mm.
    depth_mm = one_reading(row=105, col=103, depth=256.0, shape=(200, 200))
    box = CubicBox(np.array([0.0, 0.0, 255.0]), side_mm=88.0)
    assert voxels_of(voxelize(depth_mm, EXACT, box, input_side=88)) == {(44 + 1, 44 + 5, 44 + 3)}


def test_a_reading_below_the_axis_has_the_larger_y_index() -> None:
    depth_mm = one_reading(row=110, col=100, depth=256.0, shape=(200, 200))
    box = CubicBox(np.array([0.0, 0.0, 256.0]), side_mm=88.0)
    assert voxels_of(voxelize(depth_mm, EXACT, box, input_side=88)) == {(44, 54, 44)}


@pytest.mark.parametrize(
    ("depth", "index"),
    [
        (211.0, None),
        (212.0, 0),
        (212.999, 0),
        (213.0, 1),
        (299.0, 87),
        (299.999, 87),
        (300.0, None),
    ],
)
def test_a_reading_on_the_near_face_is_inside_and_on_the_far_face_outside(
    depth: float, index: int | None
) -> None:
    depth_mm = one_reading(row=100, col=100, depth=depth, shape=(200, 200))
    box = CubicBox(np.array([0.0, 0.0, 256.0]), side_mm=88.0)
    expected = set() if index is None else {(index, 44, 44)}
    assert voxels_of(voxelize(depth_mm, EXACT, box, input_side=88)) == expected


@pytest.mark.parametrize(("pixel", "index"), [(55, None), (56, 0), (57, 1), (143, 87), (144, None)])
def test_a_reading_on_the_low_face_is_inside_and_on_the_high_face_outside(
    pixel: int, index: int | None
) -> None:
    box = CubicBox(np.array([0.0, 0.0, 256.0]), side_mm=88.0)
    column = one_reading(row=100, col=pixel, depth=256.0, shape=(200, 200))
    expected = set() if index is None else {(44, 44, index)}
    assert voxels_of(voxelize(column, EXACT, box, input_side=88)) == expected
    row = one_reading(row=pixel, col=100, depth=256.0, shape=(200, 200))
    expected = set() if index is None else {(44, index, 44)}
    assert voxels_of(voxelize(row, EXACT, box, input_side=88)) == expected


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_a_reading_half_a_voxel_before_a_low_face_is_outside(axis: str) -> None:
    ref_mm = {"x": [44.5, 0, 256], "y": [0, 44.5, 256], "z": [0, 0, 256 + 44.5]}[axis]
    depth_mm = one_reading(row=100, col=100, depth=256.0, shape=(200, 200))
    box = CubicBox(np.array(ref_mm), side_mm=88.0)
    assert voxels_of(voxelize(depth_mm, EXACT, box, input_side=88)) == set()


@pytest.mark.parametrize(
    ("input_side", "side_mm"), [(88, 250.0), (88, 200.0), (48, 180.0), (8, 240.0)]
)
@pytest.mark.parametrize("seed", range(4))
def test_random_depth_maps_equal_the_slow_reference(
    seed: int, input_side: int, side_mm: float
) -> None:
    occupied = assert_equals_the_reference(
        random_depth(seed), INTRINSICS, REF_MM, side_mm=side_mm, input_side=input_side
    )
    assert occupied > 50


def test_readings_exactly_on_voxel_faces_equal_the_slow_reference() -> None:
    rng = np.random.default_rng(5)
    whole_mm = rng.integers(200, 312, (200, 200)).astype(np.float32)  # voxels of 1 mm: all on faces
    whole_mm[rng.random((200, 200)) < 0.5] = 256
    occupied = assert_equals_the_reference(
        whole_mm, EXACT, (0.0, 0.0, 256.0), side_mm=88.0, input_side=88
    )
    assert occupied > 1000


def test_the_slab_that_truncation_would_add_before_the_low_faces_stays_empty() -> None:
    depth_mm = random_depth(6, missing=0)
    arguments = (depth_mm.tolist(), camera_of(INTRINSICS), REF_MM, 100.0, 8)
    slab = reference.occupied(*arguments, truncate=True) - reference.occupied(*arguments)
    assert slab, "the scene must have readings there, or this test could not fail"
    assert all(0 in voxel for voxel in slab)
    box = CubicBox(np.array(REF_MM), side_mm=100.0)
    assert not slab & voxels_of(voxelize(depth_mm, INTRINSICS, box, input_side=8))


def test_readings_of_zero_are_no_readings_even_where_the_box_holds_the_camera() -> None:
    box = CubicBox(np.array([0.0, 0.0, 20.0]), side_mm=100.0)
    nothing = np.zeros((ROWS, COLS), dtype=np.float32)
    assert not voxelize(nothing, INTRINSICS, box, input_side=88).any()


@pytest.mark.parametrize("z_ref", [-30.0, 0.0, 30.0, 49.9, 50.0, 50.1])
def test_a_box_that_reaches_behind_the_camera_equals_the_slow_reference(z_ref: float) -> None:
    depth_mm = random_depth(7, near_mm=0.5, far_mm=110)
    occupied = assert_equals_the_reference(
        depth_mm, INTRINSICS, (2.0, -3.0, z_ref), side_mm=100.0, input_side=48
    )
    assert (occupied > 0) == (z_ref > -49)


@pytest.mark.parametrize(
    ("x_ref", "y_ref"), [(-140.0, -110.0), (170.0, 0.0), (0.0, 130.0), (-160.0, 120.0)]
)
def test_a_box_partly_outside_the_image_equals_the_slow_reference(
    x_ref: float, y_ref: float
) -> None:
    occupied = assert_equals_the_reference(
        random_depth(8), INTRINSICS, (x_ref, y_ref, 400.0), side_mm=200.0, input_side=88
    )
    assert occupied > 0


@pytest.mark.parametrize(
    "ref_mm",
    [(5000.0, 0.0, 400.0), (-5000.0, 0.0, 400.0), (0.0, 5000.0, 400.0), (0.0, -5000.0, 400.0),
     (0.0, 0.0, 4000.0), (0.0, 0.0, -400.0)],
)  # fmt: skip
def test_a_box_that_sees_nothing_is_empty(ref_mm: reference.Point) -> None:
    box = CubicBox(np.array(ref_mm), side_mm=200.0)
    assert not voxelize(random_depth(9), INTRINSICS, box, input_side=88).any()


@given(
    seed=st.integers(0, 2**16),
    x_ref=st.floats(-400, 400),
    y_ref=st.floats(-400, 400),
    z_ref=st.floats(-100, 700),
    side_mm=st.floats(20, 800),
    input_side=st.sampled_from([8, 16, 24]),
    fx_px=st.floats(10, 200),
    cx_px=st.floats(-40, 70),
)
def test_any_box_equals_the_slow_reference(
    seed: int,
    x_ref: float,
    y_ref: float,
    z_ref: float,
    side_mm: float,
    input_side: int,
    fx_px: float,
    cx_px: float,
) -> None:
    intrinsics = Intrinsics(fx_px=fx_px, fy_px=44.0, cx_px=cx_px, cy_px=11.6)
    assert_equals_the_reference(
        random_depth(seed, near_mm=1, far_mm=800),
        intrinsics,
        (x_ref, y_ref, z_ref),
        side_mm=side_mm,
        input_side=input_side,
    )


def test_points_get_the_released_code_s_voxels() -> None:
    depth_mm = random_depth(10, missing=0)
    voxels = set()
    for row in range(ROWS):
        for col in range(COLS):
            depth = float(depth_mm[row, col])
            point_mm = reference.reproject(col, row, depth, camera_of(INTRINSICS))
            x, y, z = reference.release_voxel(point_mm, REF_MM, 250.0)
            if all(0 <= index < 88 for index in (x, y, z)):
                voxels.add((z, y, x))
    box = CubicBox(np.array(REF_MM), side_mm=250.0)
    assert voxels_of(voxelize(depth_mm, INTRINSICS, box, input_side=88)) == voxels


def test_a_window_of_the_depth_map_gives_the_same_voxels() -> None:
    depth_mm = random_depth(11)
    box = CubicBox(np.array(REF_MM), side_mm=60.0)
    whole = voxelize(depth_mm, INTRINSICS, box, input_side=24)
    window = voxelize(
        depth_mm[4:20, 6:30], shifted(INTRINSICS, u0_px=6, v0_px=4), box, input_side=24
    )
    assert whole.any()
    np.testing.assert_array_equal(window, whole)


def test_a_strided_view_is_read_as_it_looks() -> None:
    depth_mm = random_depth(12)
    box = CubicBox(np.array(REF_MM), side_mm=250.0)
    flipped = voxelize(depth_mm[:, ::-1], INTRINSICS, box, input_side=24)
    copied = voxelize(np.ascontiguousarray(depth_mm[:, ::-1]), INTRINSICS, box, input_side=24)
    np.testing.assert_array_equal(flipped, copied)


def test_the_depth_map_and_the_box_are_left_as_they_were() -> None:
    depth_mm = random_depth(13)
    before = depth_mm.copy()
    box = CubicBox(np.array(REF_MM), side_mm=250.0)
    voxelize(depth_mm, INTRINSICS, box, input_side=88)
    np.testing.assert_array_equal(depth_mm, before)
    np.testing.assert_array_equal(box.center_mm, REF_MM)
