"""The z-buffer and the solids against closed forms, pixel by pixel."""

import numpy as np
import pytest

from v2vpose.datasets.synthetic import render
from v2vpose.datasets.synthetic.kinematics import Array
from v2vpose.datasets.synthetic.solids import (
    OBJECT,
    Box,
    Canvas,
    Capsule,
    Ellipsoid,
    Mesh,
    Plane,
    random_rotation,
    unit,
)

CAMERA = np.array([260.0, 255.0, 83.0, 61.0])


def blank() -> Canvas:
    return Canvas.blank(120, 160, CAMERA)


def rays() -> Array:
    """(120, 160, 3) directions with z = 1."""
    v, u = np.mgrid[:120, :160].astype(np.float64)
    x, y = (u - CAMERA[2]) / CAMERA[0], (v - CAMERA[3]) / CAMERA[1]
    return np.stack([x, y, np.ones_like(x)], axis=-1)


def sphere_depth_mm(centre: Array, radius: float) -> Array:
    d = rays()
    a, b = (d * d).sum(-1), d @ centre
    root = b * b - a * (centre @ centre - radius * radius)
    return np.where(root >= 0.0, (b - np.sqrt(np.maximum(root, 0.0))) / a, np.inf)


def test_a_sphere_is_where_the_quadratic_formula_says() -> None:
    canvas = blank()
    centre = np.array([20.0, -15.0, 500.0])
    Ellipsoid(centre, random_rotation(np.random.default_rng(0)), np.full(3, 60.0)).draw(canvas)
    np.testing.assert_allclose(canvas.depth, sphere_depth_mm(centre, 60.0), rtol=1e-5)
    np.testing.assert_array_equal(canvas.labels == OBJECT, np.isfinite(canvas.depth))


def test_a_capsule_of_almost_no_length_is_a_sphere() -> None:
    canvas = blank()
    centre = np.array([20.0, -15.0, 500.0])
    Capsule(centre, centre + np.array([0.0, 1e-4, 0.0]), 60.0).draw(canvas)
    expected = sphere_depth_mm(centre, 60.0)
    both = np.isfinite(canvas.depth) & np.isfinite(expected)
    assert (np.isfinite(canvas.depth) != np.isfinite(expected)).sum() <= 4
    np.testing.assert_allclose(canvas.depth[both], expected[both], atol=0.2)


def test_a_cylinder_seen_end_on_is_a_flat_disc() -> None:
    canvas = blank()
    Capsule(np.array([0, 0, 400.0]), np.array([0, 0, 600.0]), 40.0, rounded=False).draw(canvas)
    middle = canvas.depth[int(CAMERA[3]), int(CAMERA[2])]
    assert middle == pytest.approx(400.0)
    area_px = (canvas.depth < 400.5).sum()
    assert area_px == pytest.approx(np.pi * 40.0**2 * CAMERA[0] * CAMERA[1] / 400.0**2, rel=0.02)


def test_a_plane_is_where_its_equation_says() -> None:
    canvas = blank()
    normal = unit(np.array([0.3, -0.2, -1.0]))
    Plane(np.array([0.0, 0.0, 700.0]), normal).draw(canvas)
    np.testing.assert_allclose(canvas.depth, 700.0 * normal[2] / (rays() @ normal), rtol=1e-5)


def test_a_triangle_mesh_of_a_plane_agrees_with_the_plane() -> None:
    corners = np.array([[-900, -900, 500.0], [900, -900, 900], [900, 900, 1100], [-900, 900, 700]])
    canvas = blank()
    Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)).draw(canvas)
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    expected = (corners[0] @ normal) / (rays() @ normal)
    assert np.isfinite(canvas.depth).all()
    np.testing.assert_allclose(canvas.depth, expected, rtol=1e-5)


def test_a_box_mesh_agrees_with_the_analytic_box() -> None:
    rng = np.random.default_rng(4)
    axes, half, centre = (
        random_rotation(rng),
        np.array([60.0, 40.0, 25.0]),
        np.array([10, 5, 450.0]),
    )
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    corners = centre + (signs * half) @ axes
    quads = [(0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5)]
    triangles = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)
    meshed, analytic = blank(), blank()
    Mesh(corners, triangles).draw(meshed)
    Box(centre, axes, half).draw(analytic)
    assert (np.isfinite(meshed.depth) != np.isfinite(analytic.depth)).sum() <= 6
    both = np.isfinite(meshed.depth) & np.isfinite(analytic.depth)
    assert both.sum() > 1000
    np.testing.assert_allclose(meshed.depth[both], analytic.depth[both], rtol=1e-4)


def test_the_nearest_surface_wins_in_any_order() -> None:
    near = Ellipsoid(np.array([0, 0, 400.0]), np.eye(3), np.full(3, 30.0), label=1)
    far = Plane(np.array([0, 0, 600.0]), np.array([0, 0, -1.0]), label=2)
    first, second = blank(), blank()
    for solid in (near, far):
        solid.draw(first)
    for solid in (far, near):
        solid.draw(second)
    np.testing.assert_array_equal(first.depth, second.depth)
    np.testing.assert_array_equal(first.labels, second.labels)


def test_what_is_behind_the_camera_or_too_near_is_not_drawn() -> None:
    canvas = blank()
    for z in (-300.0, render.NEAR_MM - 5.0):
        corners = np.array([[-20, -20, z], [20, -20, z], [0, 30, z]], dtype=np.float64)
        Mesh(corners, np.array([[0, 1, 2]], dtype=np.int32)).draw(canvas)
    Ellipsoid(np.array([0, 0, -200.0]), np.eye(3), np.full(3, 50.0)).draw(canvas)
    assert not np.isfinite(canvas.depth).any()
