"""Forward kinematics of the hand rig, its skinning, and capsule distances; compiled.

Everything is in the frame of the rig (x to the thumb's side, y to the fingers, z out of the palm,
of a right hand; millimetres) and angles are radians. Layout of the 26 angles of a pose:

    4 f + 0..3   finger f (index, middle, ring, little): spread toward the thumb; MCP, PIP, DIP
                 flexion
    16..20       thumb: CMC flexion across the palm, CMC abduction out of it, CMC roll; MCP, IP
                 flexion
    21, 22       cupping of the ring and the little finger's metacarpal
    23..25       wrist flexion, wrist deviation toward the thumb, twist of the forearm

Finger flexions are absolute (0 = straight on from the palm); spread and thumb count from the
rest pose.
"""

from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

NUM_ANGLES = 26
NUM_BONES = 22
NUM_KEYPOINTS = 21
THUMB = 17
FOREARM = 20


@njit(cache=True)
def rotation_about(axis: Array, angle_rad: float) -> Array:
    """(3, 3) rotation about a unit (3,) axis (Rodrigues)."""
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    x, y, z = axis[0], axis[1], axis[2]
    r = np.empty((3, 3))
    r[0, 0] = c + x * x * (1 - c)
    r[0, 1] = x * y * (1 - c) - z * s
    r[0, 2] = x * z * (1 - c) + y * s
    r[1, 0] = y * x * (1 - c) + z * s
    r[1, 1] = c + y * y * (1 - c)
    r[1, 2] = y * z * (1 - c) - x * s
    r[2, 0] = z * x * (1 - c) - y * s
    r[2, 1] = z * y * (1 - c) + x * s
    r[2, 2] = c + z * z * (1 - c)
    return r


@njit(cache=True)
def _delta(bone: int, angles: Array, flex_axes: Array, rest_flex: Array, along: Array) -> Array:
    """Rotation (3, 3) of a bone against its parent, in rest axes."""
    x_axis = np.array([1.0, 0.0, 0.0])
    y_axis = np.array([0.0, 1.0, 0.0])
    z_axis = np.array([0.0, 0.0, 1.0])
    if 5 <= bone < THUMB:
        finger, joint = (bone - 5) // 3, (bone - 5) % 3
        flex = rotation_about(flex_axes[bone], angles[4 * finger + 1 + joint] - rest_flex[bone])
        if joint > 0:
            return flex
        return rotation_about(z_axis, -angles[4 * finger]) @ flex
    if bone == THUMB:
        roll = rotation_about(along[bone], angles[18])
        return (
            rotation_about(z_axis, angles[16]) @ rotation_about(flex_axes[bone], angles[17]) @ roll
        )
    if THUMB < bone < FOREARM:
        return rotation_about(flex_axes[bone], angles[19 + bone - THUMB - 1])
    if 3 <= bone <= 4:
        return rotation_about(x_axis, angles[18 + bone])
    if bone == FOREARM:
        # The hand is the root, so the forearm turns the other way.
        return rotation_about(x_axis, -angles[23]) @ rotation_about(z_axis, angles[24])
    if bone == FOREARM + 1:
        return rotation_about(y_axis, angles[25])
    return np.eye(3)


@njit(cache=True)
def pose_bones(
    angles: Array,
    heads: Array,
    parents: NDArray[np.int8],
    flex_axes: Array,
    rest_flex: Array,
    along: Array,
    stretch: Array,
    thickness: Array,
) -> tuple[Array, Array]:
    """Affine map of every bone: x_posed = linear[b] @ x_rest + shift[b].

    Args:
        angles: (26,) pose.
        heads, flex_axes, along: (22, 3) rest joint centres, flexion axes and bone directions.
        parents: (22,) index of each bone's parent, -1 for the wrist; parents come first.
        rest_flex: (22,) flexion that the rest shape already has.
        stretch, thickness: (22,) scale of each bone along itself and across.

    Returns:
        (22, 3, 3) linear parts and (22, 3) shifts in mm.
    """
    turn = np.empty((NUM_BONES, 3, 3))
    linear = np.empty((NUM_BONES, 3, 3))
    shift = np.zeros((NUM_BONES, 3))
    for b in range(NUM_BONES):
        delta = _delta(b, angles, flex_axes, rest_flex, along)
        p = parents[b]
        if p < 0:
            turn[b] = delta
            head = heads[b]
        else:
            turn[b] = turn[p] @ delta
            head = linear[p] @ heads[b] + shift[p]
        scale = np.empty((3, 3))
        for i in range(3):
            for j in range(3):
                scale[i, j] = (stretch[b] - thickness[b]) * along[b, i] * along[b, j]
            scale[i, i] += thickness[b]
        linear[b] = turn[b] @ scale
        shift[b] = head - linear[b] @ heads[b]
    return linear, shift


@njit(cache=True)
def posed_keypoints(linear: Array, shift: Array, heads: Array, tips: Array) -> Array:
    """(21, 3) keypoints: wrist, then three joints and the tip of index..little and thumb."""
    points = np.empty((NUM_KEYPOINTS, 3))
    points[0] = linear[0] @ heads[0] + shift[0]
    for finger in range(5):
        first = 5 + 3 * finger
        for j in range(3):
            b = first + j
            points[1 + 4 * finger + j] = linear[b] @ heads[b] + shift[b]
        points[4 + 4 * finger] = linear[first + 2] @ tips[finger] + shift[first + 2]
    return points


@njit(cache=True)
def skin(
    vertices: Array,
    weight_bones: NDArray[np.uint8],
    weights: NDArray[np.float32],
    linear: Array,
    shift: Array,
) -> Array:
    """Linear blend skinning: (V, 3) rest vertices -> (V, 3) posed ones."""
    posed = np.zeros_like(vertices)
    for v in range(len(vertices)):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        for k in range(weights.shape[1]):
            w = weights[v, k]
            if w <= 0.0:
                continue
            b = weight_bones[v, k]
            for i in range(3):
                moved = linear[b, i, 0] * x + linear[b, i, 1] * y + linear[b, i, 2] * z
                posed[v, i] += w * (moved + shift[b, i])
    return posed


@njit(cache=True)
def _clamped(share: float) -> float:
    return min(max(share, 0.0), 1.0)


@njit(cache=True)
def segment_distance(p0: Array, p1: Array, q0: Array, q1: Array) -> float:
    """Shortest distance between the segments p0p1 and q0q1 (none of zero length)."""
    u, v, w = p1 - p0, q1 - q0, p0 - q0
    a, b, c = float(u @ u), float(u @ v), float(v @ v)
    d, e = float(u @ w), float(v @ w)
    denominator = a * c - b * b
    s = 0.0 if denominator < 1e-9 else _clamped((b * e - c * d) / denominator)
    t = _clamped((b * s + e) / c)
    s = _clamped((b * t - d) / a)
    gap = w + s * u - t * v
    return float(np.sqrt(gap @ gap))


@njit(cache=True)
def penetration(points: Array, radii: Array) -> float:
    """Deepest overlap in mm between capsules of different fingers, or of a finger and the palm.

    Args:
        points: (21, 3) keypoints.
        radii: (5, 4) mm: metacarpal, proximal, middle, distal capsule of index..little, thumb.
    """
    deepest = 0.0
    for f in range(5):
        for j in range(1, 4):
            if f == 4 and j == 1:
                continue  # the thumb's metacarpal lies in the flesh of the palm
            deepest = max(deepest, _into_fingers(points, radii, f, j))
            if j > 1:
                deepest = max(deepest, _into_palm(points, radii, f, j))
    return deepest


@njit(cache=True)
def _into_fingers(points: Array, radii: Array, f: int, j: int) -> float:
    """Overlap of segment j of finger f with the fingers after f."""
    deepest = 0.0
    p0, p1 = points[4 * f + j], points[4 * f + j + 1]
    for g in range(f + 1, 5):
        for k in range(1, 4):
            # Two knuckles side by side always touch.
            if k == 1 and (j == 1 or g == 4):
                continue
            q0, q1 = points[4 * g + k], points[4 * g + k + 1]
            gap = segment_distance(p0, p1, q0, q1) - radii[f, j] - radii[g, k]
            deepest = max(deepest, -gap)
    return deepest


@njit(cache=True)
def _into_palm(points: Array, radii: Array, f: int, j: int) -> float:
    """Overlap of segment j of finger f with the four metacarpals of the palm."""
    deepest = 0.0
    p0, p1 = points[4 * f + j], points[4 * f + j + 1]
    for g in range(4):
        gap = segment_distance(p0, p1, points[0], points[4 * g + 1])
        deepest = max(deepest, radii[f, j] + radii[g, 0] - gap)
    return deepest
