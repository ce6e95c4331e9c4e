"""Crisp depth images of triangle meshes and of analytic solids; compiled, one ray per pixel centre.

Camera frame: x right, y down, z forward, mm. A depth image holds distance along +z, and `np.inf`
where nothing is. All functions draw into `depth` (H, W) float32 in place, nearest surface wins, and
write `label` into `labels` (H, W) uint8 where they win. `camera` is (fx_px, fy_px, cx_px, cy_px).
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from v2vpose.datasets.synthetic.kinematics import Array

NEAR_MM = 40.0
# Rounding must not open a crack between two triangles that share an edge.
_EDGE_SLACK = 1e-9
DepthImage = NDArray[np.float32]
LabelImage = NDArray[np.uint8]


@njit(cache=True, error_model="numpy")
def _put(depth: DepthImage, labels: LabelImage, v: int, u: int, z: float, label: int) -> None:
    if NEAR_MM < z < depth[v, u]:
        depth[v, u] = z
        labels[v, u] = label


@njit(cache=True, error_model="numpy")
def draw_mesh(
    depth: DepthImage,
    labels: LabelImage,
    camera: Array,
    vertices: Array,
    triangles: NDArray[np.int32],
    triangle_labels: NDArray[np.uint8],
) -> None:
    """Draw triangles (T, 3) over vertices (V, 3); both sides show.

    A triangle with a corner nearer than NEAR_MM is dropped, not clipped: no sensor reads there.
    """
    rows, cols = depth.shape
    count = len(vertices)
    us, vs, inverse = np.empty(count), np.empty(count), np.empty(count)
    for i in range(count):
        z = vertices[i, 2]
        inverse[i] = 1.0 / z if z > NEAR_MM else -1.0
        us[i] = vertices[i, 0] * inverse[i] * camera[0] + camera[2]
        vs[i] = vertices[i, 1] * inverse[i] * camera[1] + camera[3]
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        if inverse[a] < 0 or inverse[b] < 0 or inverse[c] < 0:
            continue
        u0 = max(int(np.ceil(min(us[a], us[b], us[c]))), 0)
        u1 = min(int(np.floor(max(us[a], us[b], us[c]))), cols - 1)
        v0 = max(int(np.ceil(min(vs[a], vs[b], vs[c]))), 0)
        v1 = min(int(np.floor(max(vs[a], vs[b], vs[c]))), rows - 1)
        area = (us[b] - us[a]) * (vs[c] - vs[a]) - (vs[b] - vs[a]) * (us[c] - us[a])
        if u0 > u1 or v0 > v1 or area == 0.0:
            continue
        for v in range(v0, v1 + 1):
            for u in range(u0, u1 + 1):
                wa = ((us[b] - u) * (vs[c] - v) - (vs[b] - v) * (us[c] - u)) / area
                wb = ((us[c] - u) * (vs[a] - v) - (vs[c] - v) * (us[a] - u)) / area
                wc = 1.0 - wa - wb
                if wa >= -_EDGE_SLACK and wb >= -_EDGE_SLACK and wc >= -_EDGE_SLACK:
                    # 1/z, not z, is linear in the image.
                    z = 1.0 / (wa * inverse[a] + wb * inverse[b] + wc * inverse[c])
                    _put(depth, labels, v, u, z, triangle_labels[t])


@njit(cache=True, error_model="numpy")
def _window(
    camera: Array, centre: Array, reach_mm: float, rows: int, cols: int
) -> tuple[int, int, int, int]:
    """Pixels (u0, u1, v0, v1), ends included, that a ball around `centre` can touch."""
    near = centre[2] - reach_mm
    if near < NEAR_MM:
        return (0, cols - 1, 0, rows - 1) if centre[2] + reach_mm > NEAR_MM else (0, -1, 0, -1)
    far = centre[2] + reach_mm
    left, right = centre[0] - reach_mm, centre[0] + reach_mm
    top, bottom = centre[1] - reach_mm, centre[1] + reach_mm
    u0 = camera[0] * left / (near if left < 0 else far) + camera[2]
    u1 = camera[0] * right / (near if right > 0 else far) + camera[2]
    v0 = camera[1] * top / (near if top < 0 else far) + camera[3]
    v1 = camera[1] * bottom / (near if bottom > 0 else far) + camera[3]
    limit = 1e6
    return (
        max(int(max(u0, -limit)), 0),
        min(int(min(u1, limit)) + 1, cols - 1),
        max(int(max(v0, -limit)), 0),
        min(int(min(v1, limit)) + 1, rows - 1),
    )


@njit(cache=True, error_model="numpy")
def _capsule_window(
    camera: Array, p0: Array, p1: Array, radius_mm: float, rows: int, cols: int
) -> tuple[int, int, int, int]:
    """As `_window`, for all points within radius_mm of a segment."""
    if min(p0[2], p1[2]) - radius_mm < NEAR_MM:
        reach = 0.5 * float(np.sqrt(np.sum((p1 - p0) ** 2))) + radius_mm
        return _window(camera, 0.5 * (p0 + p1), reach, rows, cols)
    # Wholly before the camera, it projects into the hull of its end balls' projections.
    a = _window(camera, p0, radius_mm, rows, cols)
    b = _window(camera, p1, radius_mm, rows, cols)
    return min(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), max(a[3], b[3])


@njit(cache=True, error_model="numpy")
def draw_ellipsoid(
    depth: DepthImage,
    labels: LabelImage,
    camera: Array,
    centre: Array,
    axes: Array,
    radii: Array,
    label: int,
) -> None:
    """Draw an ellipsoid. axes: (3, 3), rows are unit axes; radii: (3,), a sphere if equal."""
    u0, u1, v0, v1 = _window(camera, centre, np.max(radii), depth.shape[0], depth.shape[1])
    # Rays o + z d in the frame where the ellipsoid is the unit sphere.
    to_unit = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            to_unit[i, j] = axes[i, j] / radii[i]
    o = -(to_unit @ centre)
    c = o @ o - 1.0
    per_fx, per_fy = 1.0 / camera[0], 1.0 / camera[1]
    for v in range(v0, v1 + 1):
        y = (v - camera[3]) * per_fy
        for u in range(u0, u1 + 1):
            x = (u - camera[2]) * per_fx
            d0 = to_unit[0, 0] * x + to_unit[0, 1] * y + to_unit[0, 2]
            d1 = to_unit[1, 0] * x + to_unit[1, 1] * y + to_unit[1, 2]
            d2 = to_unit[2, 0] * x + to_unit[2, 1] * y + to_unit[2, 2]
            a = d0 * d0 + d1 * d1 + d2 * d2
            b = o[0] * d0 + o[1] * d1 + o[2] * d2
            root = b * b - a * c
            if root >= 0.0:
                _put(depth, labels, v, u, (-b - np.sqrt(root)) / a, label)


@njit(cache=True, error_model="numpy")
def draw_capsule(
    depth: DepthImage,
    labels: LabelImage,
    camera: Array,
    p0: Array,
    p1: Array,
    radius_mm: float,
    label: int,
    rounded: bool,
) -> None:
    """Draw the points within `radius_mm` of a segment; flat ends (a cylinder) if not rounded."""
    axis = p1 - p0
    length = float(np.sqrt(axis @ axis))
    axis = axis / length
    u0, u1, v0, v1 = _capsule_window(camera, p0, p1, radius_mm, depth.shape[0], depth.shape[1])
    o_axis = -(p0 @ axis)
    c = p0 @ p0 - o_axis * o_axis - radius_mm * radius_mm
    per_fx, per_fy = 1.0 / camera[0], 1.0 / camera[1]
    for v in range(v0, v1 + 1):
        y = (v - camera[3]) * per_fy
        for u in range(u0, u1 + 1):
            x = (u - camera[2]) * per_fx
            # The ray meets the infinite cylinder where a z^2 + 2 b z + c = 0.
            d_axis = x * axis[0] + y * axis[1] + axis[2]
            a = x * x + y * y + 1.0 - d_axis * d_axis
            b = -(x * p0[0] + y * p0[1] + p0[2]) - d_axis * o_axis
            root = b * b - a * c
            if root < 0.0:
                continue
            if a > 1e-9:
                z = (-b - np.sqrt(root)) / a
                if 0.0 <= o_axis + z * d_axis <= length:
                    _put(depth, labels, v, u, z, label)
                    continue
            if rounded:
                _put(depth, labels, v, u, _ball(x, y, p0, radius_mm), label)
                _put(depth, labels, v, u, _ball(x, y, p1, radius_mm), label)
            elif abs(d_axis) > 1e-9:
                _put(depth, labels, v, u, _disc(x, y, p0, axis, d_axis, radius_mm), label)
                _put(depth, labels, v, u, _disc(x, y, p1, axis, d_axis, radius_mm), label)


@njit(cache=True, error_model="numpy")
def _ball(x: float, y: float, centre: Array, radius_mm: float) -> float:
    """Where the ray (x, y, 1) enters a ball, or inf."""
    dd = x * x + y * y + 1.0
    half = x * centre[0] + y * centre[1] + centre[2]
    root = half * half - dd * (centre @ centre - radius_mm * radius_mm)
    return float((half - np.sqrt(root)) / dd) if root >= 0.0 else np.inf


@njit(cache=True, error_model="numpy")
def _disc(x: float, y: float, centre: Array, axis: Array, d_axis: float, radius_mm: float) -> float:
    """Where the ray (x, y, 1) meets a disc across `axis`, or inf. d_axis: ray . axis, not 0."""
    z = (centre @ axis) / d_axis
    w0, w1, w2 = z * x - centre[0], z * y - centre[1], z - centre[2]
    return float(z) if w0 * w0 + w1 * w1 + w2 * w2 <= radius_mm * radius_mm else np.inf


@njit(cache=True, error_model="numpy")
def draw_box(
    depth: DepthImage,
    labels: LabelImage,
    camera: Array,
    centre: Array,
    axes: Array,
    half: Array,
    label: int,
) -> None:
    """Draw a box. axes: (3, 3), rows are unit axes; half: (3,) half side lengths in mm."""
    reach = float(np.sqrt(half @ half))
    u0, u1, v0, v1 = _window(camera, centre, reach, depth.shape[0], depth.shape[1])
    o = -(axes @ centre)
    per_fx, per_fy = 1.0 / camera[0], 1.0 / camera[1]
    for v in range(v0, v1 + 1):
        y = (v - camera[3]) * per_fy
        for u in range(u0, u1 + 1):
            x = (u - camera[2]) * per_fx
            enter, leave = -np.inf, np.inf
            for i in range(3):
                d = axes[i, 0] * x + axes[i, 1] * y + axes[i, 2]
                if abs(d) < 1e-12:
                    if abs(o[i]) > half[i]:
                        leave = -np.inf
                    continue
                t0, t1 = (-half[i] - o[i]) / d, (half[i] - o[i]) / d
                enter = max(enter, min(t0, t1))
                leave = min(leave, max(t0, t1))
            if enter <= leave:
                _put(depth, labels, v, u, enter, label)


@njit(cache=True, error_model="numpy")
def draw_plane(
    depth: DepthImage, labels: LabelImage, camera: Array, point: Array, normal: Array, label: int
) -> None:
    """Draw the infinite plane through `point` (3,) with `normal` (3,)."""
    offset = point @ normal
    per_fx, per_fy = 1.0 / camera[0], 1.0 / camera[1]
    for v in range(depth.shape[0]):
        y = (v - camera[3]) * per_fy
        for u in range(depth.shape[1]):
            slope = (u - camera[2]) * per_fx * normal[0] + y * normal[1] + normal[2]
            if abs(slope) > 1e-9:
                _put(depth, labels, v, u, offset / slope, label)
