"""Pinhole camera against a hand-computed case, the slow reference and its own inverse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import reference
from v2vpose.geometry.camera import (
    camera_from_pixel,
    displaced,
    mirrored,
    mirrored_points,
    pixel_from_camera,
    shifted,
)
from v2vpose.values import DepthFrame, Intrinsics

INTRINSICS = Intrinsics(fx_px=500.0, fy_px=250.0, cx_px=320.0, cy_px=240.0)
CAMERA = (500.0, 250.0, 320.0, 240.0)

focal_px = st.floats(50, 3000)
pixel = st.floats(-500, 2500)
depth_mm = st.floats(1, 10_000)


def test_a_pixel_right_of_and_below_the_principal_point_has_positive_x_and_y() -> None:
    point_mm = camera_from_pixel(np.array([420.0, 340.0]), np.array(1000.0), INTRINSICS)
    np.testing.assert_array_equal(point_mm, [200.0, 400.0, 1000.0])


def test_a_point_right_of_and_below_the_axis_projects_right_of_and_below_the_principal_point() -> (
    None
):
    uv_px = pixel_from_camera(np.array([200.0, 400.0, 1000.0]), INTRINSICS)
    np.testing.assert_array_equal(uv_px, [420.0, 340.0])


def test_the_principal_point_looks_along_z_at_any_depth() -> None:
    for depth in (1.0, 400.0, 5000.0):
        point_mm = camera_from_pixel(np.array([320.0, 240.0]), np.array(depth), INTRINSICS)
        np.testing.assert_array_equal(point_mm, [0.0, 0.0, depth])


def test_reprojection_equals_the_slow_reference() -> None:
    rng = np.random.default_rng(1)
    uv_px = rng.uniform(-50, 700, (200, 2))
    depth = rng.uniform(1, 3000, 200)
    expected = [
        reference.reproject(float(u), float(v), float(d), CAMERA)
        for (u, v), d in zip(uv_px, depth, strict=True)
    ]
    np.testing.assert_array_equal(camera_from_pixel(uv_px, depth, INTRINSICS), expected)


def test_projection_equals_the_slow_reference() -> None:
    rng = np.random.default_rng(2)
    points_mm = rng.uniform([-500, -500, 1], [500, 500, 3000], (200, 3))
    expected = [reference.project((float(x), float(y), float(z)), CAMERA) for x, y, z in points_mm]
    np.testing.assert_allclose(pixel_from_camera(points_mm, INTRINSICS), expected, rtol=1e-12)


@given(focal_px, focal_px, pixel, pixel, pixel, pixel, depth_mm)
def test_reprojecting_then_projecting_returns_the_pixel(
    fx: float, fy: float, cx: float, cy: float, u: float, v: float, depth: float
) -> None:
    intrinsics = Intrinsics(fx_px=fx, fy_px=fy, cx_px=cx, cy_px=cy)
    point_mm = camera_from_pixel(np.array([u, v]), np.array(depth), intrinsics)
    np.testing.assert_allclose(pixel_from_camera(point_mm, intrinsics), [u, v], atol=1e-6)


@pytest.mark.parametrize("lead", [(), (4,), (2, 3), (0,), (2, 0)])
def test_every_leading_shape_goes_there_and_back(lead: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    uv_px = rng.uniform(0, 600, (*lead, 2))
    depth = rng.uniform(100, 1000, lead)
    points_mm = camera_from_pixel(uv_px, depth, INTRINSICS)
    assert points_mm.shape == (*lead, 3)
    np.testing.assert_allclose(pixel_from_camera(points_mm, INTRINSICS), uv_px, atol=1e-9)


def test_one_depth_serves_many_pixels() -> None:
    uv_px = np.array([[320.0, 240.0], [420.0, 240.0]])
    points_mm = camera_from_pixel(uv_px, np.array(500.0), INTRINSICS)
    np.testing.assert_array_equal(points_mm, [[0, 0, 500], [100, 0, 500]])


def test_points_at_or_behind_the_camera_project_to_nan() -> None:
    points_mm = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, -5.0], [0.0, 0.0, 1.0]])
    uv_px = pixel_from_camera(points_mm, INTRINSICS)
    np.testing.assert_array_equal(uv_px, [[np.nan, np.nan], [np.nan, np.nan], [320.0, 240.0]])


@given(pixel, pixel, depth_mm, st.integers(0, 600), st.integers(0, 600))
def test_a_window_sees_the_same_points_as_the_whole_image(
    u: float, v: float, depth: float, u0: int, v0: int
) -> None:
    whole_mm = camera_from_pixel(np.array([u, v]), np.array(depth), INTRINSICS)
    window = shifted(INTRINSICS, u0_px=u0, v0_px=v0)
    window_mm = camera_from_pixel(np.array([u - u0, v - v0]), np.array(depth), window)
    np.testing.assert_allclose(window_mm, whole_mm, atol=1e-8)


def random_frame(rows: int = 6, cols: int = 9) -> DepthFrame:
    rng = np.random.default_rng(4)
    depth = rng.uniform(200, 900, (rows, cols)).astype(np.float32)
    return DepthFrame(depth, Intrinsics(fx_px=100.0, fy_px=110.0, cx_px=3.25, cy_px=2.5))


def points_of(frame: DepthFrame) -> np.ndarray[tuple[int, ...], np.dtype[np.floating]]:
    rows, cols = np.indices(frame.hw)
    uv_px = np.stack([cols, rows], axis=-1).astype(np.float64)
    return camera_from_pixel(uv_px, frame.depth_mm.astype(np.float64), frame.intrinsics)


def test_mirroring_twice_gives_the_frame_back() -> None:
    frame = random_frame()
    twice = mirrored(mirrored(frame))
    np.testing.assert_array_equal(twice.depth_mm, frame.depth_mm)
    assert twice.intrinsics == frame.intrinsics


def test_a_mirrored_frame_holds_the_mirrored_points() -> None:
    frame = random_frame()
    expected_mm = mirrored_points(points_of(frame))[:, ::-1]
    np.testing.assert_allclose(points_of(mirrored(frame)), expected_mm, atol=1e-9)


def test_a_mirrored_frame_is_contiguous_and_leaves_the_original_alone() -> None:
    frame = random_frame()
    before = frame.depth_mm.copy()
    assert mirrored(frame).depth_mm.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(frame.depth_mm, before)


@pytest.mark.parametrize("lead", [(), (4,), (2, 3), (0,)])
def test_mirroring_points_negates_x_only(lead: tuple[int, ...]) -> None:
    points_mm = np.random.default_rng(5).normal(size=(*lead, 3))
    result = mirrored_points(points_mm)
    np.testing.assert_array_equal(result[..., 0], -points_mm[..., 0])
    np.testing.assert_array_equal(result[..., 1:], points_mm[..., 1:])
    np.testing.assert_array_equal(mirrored_points(result), points_mm)


def test_a_displaced_camera_sees_every_reading_farther_right_and_down_by_its_distance() -> None:
    uv_px, depth = np.array([[420.0, 340.0], [0.0, 0.0]]), np.array([1000.0, 500.0])
    moved_mm = camera_from_pixel(uv_px, depth, displaced(INTRINSICS, tangent=0.01))
    straight_mm = camera_from_pixel(uv_px, depth, INTRINSICS)
    np.testing.assert_allclose(moved_mm - straight_mm, [[10, 10, 0], [5, 5, 0]], atol=1e-9)
    assert displaced(INTRINSICS, tangent=0.0) == INTRINSICS
