"""What a depth camera does to a crisp depth image; compiled, reproducible frame by frame.

Real cameras err with the square of the distance (triangulation), lose readings at edges, at grazing
angles and in the projector's shadow, invent readings between near and far ("flying pixels"), and
leave holes.
"""

from dataclasses import fields

import numpy as np
from numba import njit
from numpy.random import Generator
from numpy.typing import NDArray

from v2vpose.datasets.synthetic.noise import Noise
from v2vpose.datasets.synthetic.render import DepthImage, LabelImage
from v2vpose.datasets.synthetic.solids import HEAD

# A jump of this share of z between neighbours is an edge. A fixed jump would call far floors edges.
EDGE_SHARE = 0.025
_GRID_PX = 8


def observe(
    depth: DepthImage, labels: LabelImage, focal_px: float, noise: Noise, seed: int
) -> DepthImage:
    """A sensor's view of a crisp image.

    Args:
        depth: (H, W) mm, inf where nothing is.
        labels: (H, W) as in `solids`.
        focal_px: for slopes and shadows.
        noise: strengths.
        seed: of this frame.

    Returns:
        (H, W) float32 mm, 0 = no reading.
    """
    values = np.array([float(getattr(noise, f.name)) for f in fields(Noise)])
    return np.asarray(_observe(depth, labels, focal_px, values, np.random.default_rng(seed)))


@njit(cache=True, error_model="numpy")
def _observe(
    depth: DepthImage,
    labels: LabelImage,
    focal_px: float,
    noise: NDArray[np.float64],
    rng: Generator,
) -> DepthImage:
    """See `observe`. noise: the fields of Noise in their order."""
    sigma, bumps, step, jitter, edge_loss, flying, grazing, cosine = noise[:8]
    holes, blobs, shadow, hair, near, far, unit = noise[8:]
    rows, cols = depth.shape
    out = np.zeros((rows, cols), dtype=np.float32)
    grid = rng.normal(0.0, 1.0, (rows // _GRID_PX + 2, cols // _GRID_PX + 2))
    # A surface at this cosine to the ray has this squared slope.
    steep = 1.0 / max(cosine, 1e-3) ** 2 - 1.0
    for v in range(rows):
        reach = -np.inf
        for k in range(cols):
            # Scan away from the projector, so that what is nearer is met before what it shades.
            u = k if shadow >= 0.0 else cols - 1 - k
            rough, other, slope = _surroundings(depth, v, u)
            z = _jittered(depth, v, u, jitter, rng) if rough and jitter > 0.0 else depth[v, u]
            if not np.isfinite(z):
                continue
            if shadow != 0.0:
                place = k + abs(shadow) * focal_px / z
                if place < reach:
                    continue
                reach = place
            if rough:
                z = _at_edge(z, other, edge_loss, flying, rng)
            elif grazing > 0.0 and slope * (focal_px / z) ** 2 > steep and rng.random() < grazing:
                continue
            smooth = _interpolated(grid, v / _GRID_PX, u / _GRID_PX)
            if labels[v, u] == HEAD and hair > 0.0 and smooth > 1.2 - 1.6 * hair:
                continue
            z += z * z / 250000.0 * (bumps * smooth + sigma * rng.normal())
            z = _stored(z, step, unit)
            if near < z < far:
                out[v, u] = z
    _leave_holes(out, int(holes), int(blobs), rng)
    return out


@njit(cache=True, error_model="numpy")
def _surroundings(depth: DepthImage, v: int, u: int) -> tuple[bool, float, float]:
    """Whether a pixel is at an edge, a depth across it (else its own), and its squared slope."""
    z = depth[v, u]
    rough, other, slope = False, z, 0.0
    for i in range(4):
        vv = v + (1 if i == 0 else -1 if i == 1 else 0)
        uu = u + (1 if i == 2 else -1 if i == 3 else 0)
        if vv < 0 or uu < 0 or vv >= depth.shape[0] or uu >= depth.shape[1]:
            continue
        neighbour = depth[vv, uu]
        if neighbour == z:
            continue
        jump = abs(neighbour - z)
        if jump > EDGE_SHARE * min(z, neighbour):
            rough = True
            if np.isfinite(neighbour):
                other = neighbour
        elif i % 2 == 0:
            slope += jump * jump
    return rough, other, slope


@njit(cache=True, error_model="numpy")
def _jittered(depth: DepthImage, v: int, u: int, jitter: float, rng: Generator) -> float:
    """The depth at a pixel about `jitter` pixels away."""
    rows, cols = depth.shape
    vv = min(max(v + int(np.rint(jitter * rng.normal())), 0), rows - 1)
    uu = min(max(u + int(np.rint(jitter * rng.normal())), 0), cols - 1)
    return float(depth[vv, uu])


@njit(cache=True, error_model="numpy")
def _at_edge(z: float, other: float, edge_loss: float, flying: float, rng: Generator) -> float:
    """The depth, one between it and the depth across the edge, or 0 (lost)."""
    chance = rng.random()
    if chance < edge_loss:
        return 0.0
    if chance > 1.0 - flying and np.isfinite(other):
        return z + rng.random() * (other - z)
    return z


@njit(cache=True, error_model="numpy")
def _interpolated(grid: NDArray[np.float64], v: float, u: float) -> float:
    """Bilinear value of a grid."""
    iv, iu = int(v), int(u)
    av, au = v - iv, u - iu
    upper = (1 - au) * grid[iv, iu] + au * grid[iv, iu + 1]
    lower = (1 - au) * grid[iv + 1, iu] + au * grid[iv + 1, iu + 1]
    return float((1 - av) * upper + av * lower)


@njit(cache=True, error_model="numpy")
def _stored(z: float, step: float, unit: float) -> float:
    """Quantise a depth: to whole disparities of `step` mm at 500 mm, then to the unit."""
    if step > 0.02 and z > 1.0:
        disparity = 250000.0 / step
        z = disparity / max(np.rint(disparity / z), 1.0)
    if unit > 0.0:
        z = np.rint(z / unit) * unit
    return z


@njit(cache=True, error_model="numpy")
def _leave_holes(out: DepthImage, holes: int, blobs: int, rng: Generator) -> None:
    rows, cols = out.shape
    for _ in range(holes):
        v, u = int(rng.random() * rows), int(rng.random() * cols)
        _erase(out, v, u, 1.0 + 3.5 * rng.random())
    for _ in range(blobs):
        v, u = int(rng.random() * rows), int(rng.random() * cols)
        for _ in range(8):
            radius = 2.0 + (0.03 * cols - 2.0) * rng.random()
            _erase(out, v, u, radius)
            v += int(rng.normal() * radius)
            u += int(rng.normal() * radius)


@njit(cache=True, error_model="numpy")
def _erase(out: DepthImage, v: int, u: int, radius: float) -> None:
    reach = int(radius) + 1
    for vv in range(max(v - reach, 0), min(v + reach + 1, out.shape[0])):
        for uu in range(max(u - reach, 0), min(u + reach + 1, out.shape[1])):
            if (vv - v) ** 2 + (uu - u) ** 2 <= radius * radius:
                out[vv, uu] = 0.0
