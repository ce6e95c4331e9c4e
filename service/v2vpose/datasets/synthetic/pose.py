"""Sampling of hand poses within the joints' limits; angles as in `kinematics`, tables in degrees.

About a quarter of the poses bend every joint on its own; the others mix archetypes finger by
finger.
"""

import numpy as np
from numba import njit
from numpy.random import Generator
from numpy.typing import NDArray

from v2vpose.datasets.synthetic import kinematics
from v2vpose.datasets.synthetic.gestures import (
    ARCHETYPES,
    CURLED,
    LIMITS_DEG,
    RELAXED,
    STRAIGHT,
    THUMB_OPPOSED,
    Archetype,
    Finger,
)
from v2vpose.datasets.synthetic.kinematics import NUM_ANGLES, Array
from v2vpose.datasets.synthetic.rig import HandRig, RestHand

INDEPENDENT_SHARE = 0.25
# Deeper overlaps of the capsules are sampled again; skin gives way this much.
ALLOWED_PENETRATION_MM = 5.0
ATTEMPTS = 12

# Capsule radii at 188 mm hand length: metacarpal, proximal, middle, distal.
CAPSULE_RADII_MM = np.array(
    [
        [10.0, 9.0, 7.8, 6.8],
        [10.0, 9.2, 8.0, 7.0],
        [9.5, 8.6, 7.4, 6.6],
        [9.0, 7.6, 6.4, 5.8],
        [12.0, 12.0, 9.5, 8.0],
    ]
)

_TABLE_DEG = np.stack([a.angles_deg() for a in ARCHETYPES.values()])
_WEIGHTS = np.array([a.weight for a in ARCHETYPES.values()])
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
# Thumb to one fingertip (a pinch): start from there, then `bring_together` closes the gap.
_PINCH: Finger = (0.0, 42.0, 48.0, 26.0)
PINCH_SHARE = 0.14
PINCH_GAP_MM = 14.0


def sample_angles(rig: HandRig, hand: RestHand, rng: Generator) -> Array:
    """Draw a pose (26,) in radians for one hand, wrist included, without gross self-penetration."""
    best, least = np.zeros(NUM_ANGLES), np.inf
    for _ in range(ATTEMPTS):
        angles = _draw(rig, hand, rng)
        overlap = _overlap(rig, hand, angles)
        if overlap < least:
            best, least = angles, overlap
        if least <= ALLOWED_PENETRATION_MM:
            break
    return best


def _draw(rig: HandRig, hand: RestHand, rng: Generator) -> Array:
    kind = rng.random()
    if kind < INDEPENDENT_SHARE:
        degrees = _independent(rng)
    elif kind < INDEPENDENT_SHARE + PINCH_SHARE:
        return sample_pinch(rig, hand, rng)
    else:
        degrees = _mixture(rng)
    return np.radians(_within_limits(degrees + sample_wrist_deg(rng)))


def sample_wrist_deg(rng: Generator) -> Array:
    """(26,) degrees, all 0 but the wrist's three."""
    degrees = np.zeros(NUM_ANGLES)
    # Mostly near straight, sometimes at the ends of the range.
    wide = 2.2 if rng.random() < 0.25 else 1.0
    degrees[23:26] = (
        rng.normal(0.0, wide) * 16.0,
        rng.normal(-3.0, 7.0 * wide),
        rng.normal(0.0, 12.0),
    )
    return degrees


def _independent(rng: Generator) -> Array:
    low, high = LIMITS_DEG
    degrees = low + (high - low) * rng.beta(1.1, 1.3, NUM_ANGLES)
    # DIP follows PIP: one tendon bends both.
    degrees[3:16:4] = degrees[2:16:4] * rng.uniform(0.35, 0.75, 4) + rng.normal(0.0, 6.0, 4)
    degrees[23:26] = 0.0
    return np.asarray(degrees)


def _mixture(rng: Generator) -> Array:
    first, second = rng.choice(len(_TABLE_DEG), 2, p=_WEIGHTS)
    # Half of the poses are one archetype alone, or the gestures would never be seen whole.
    mix = np.zeros(6) if rng.random() < 0.5 else rng.uniform(0.0, 1.0) + rng.normal(0, 0.15, 6)
    per_angle = np.repeat(np.clip(mix, 0.0, 1.0), (4, 4, 4, 4, 5, 5))
    degrees = (1.0 - per_angle) * _TABLE_DEG[first] + per_angle * _TABLE_DEG[second]
    return np.asarray(degrees + _jitter(rng))


def _jitter(rng: Generator) -> Array:
    """Correlated noise (26,) in degrees: the whole hand, each finger, each joint."""
    strength = rng.uniform(0.3, 1.2)
    noise = np.zeros(NUM_ANGLES)
    bend = rng.normal(0.0, 7.0) + rng.normal(0.0, 7.0, 4)
    own = rng.normal(0.0, 4.0, (4, 3))
    for f in range(4):
        noise[4 * f + 1 : 4 * f + 4] = bend[f] * np.array([0.9, 1.0, 0.6]) + own[f]
    noise[0:16:4] = rng.normal(0.0, 2.5, 4)
    noise[16:21] = rng.normal(0.0, (6.0, 6.0, 5.0, 8.0, 10.0))
    noise[21:23] = np.abs(rng.normal(0.0, 3.0, 2))
    return noise * strength


def _within_limits(degrees: Array) -> Array:
    clipped = np.clip(degrees, LIMITS_DEG[0], LIMITS_DEG[1])
    # A bent knuckle locks sideways: the collateral ligaments are tight.
    clipped[0:16:4] *= 1.0 - 0.75 * np.clip(clipped[1:16:4], 0.0, 90.0) / 90.0
    # Without help a fingertip does not bend much while the PIP joint is straight.
    clipped[3:16:4] = np.minimum(clipped[3:16:4], 12.0 + 0.8 * clipped[2:16:4].clip(0.0))
    return clipped


def _overlap(rig: HandRig, hand: RestHand, angles: Array) -> float:
    return float(kinematics.penetration(rig.pose_keypoints(hand, angles), CAPSULE_RADII_MM))


def sample_pinch(rig: HandRig, hand: RestHand, rng: Generator) -> Array:
    """Thumb tip to the tip of one finger; the others straight, relaxed, curled or along with it."""
    finger = int(rng.choice(4, p=(0.55, 0.25, 0.12, 0.08)))
    other = ((STRAIGHT, RELAXED, CURLED, _PINCH), (0.35, 0.25, 0.15, 0.25))
    fingers = [other[0][rng.choice(4, p=other[1])]] * 4
    fingers[finger] = _PINCH
    archetype = Archetype(
        (fingers[0], fingers[1], fingers[2], fingers[3]), THUMB_OPPOSED, rng.uniform(-0.5, 0.6)
    )
    start = np.radians(
        _within_limits(archetype.angles_deg() + _jitter(rng) + sample_wrist_deg(rng))
    )
    free = np.array([4 * finger + 1, 4 * finger + 2, 4 * finger + 3, 16, 17, 18, 19, 20])
    return np.asarray(
        bring_together(
            rng,
            start,
            free,
            np.radians(LIMITS_DEG),
            4 + 4 * finger,
            hand.heads,
            hand.tips,
            rig.parents,
            hand.flex_axes,
            hand.rest_flex,
            hand.along,
            hand.stretch,
            hand.thickness,
            CAPSULE_RADII_MM,
        )
    )


@njit(cache=True)
def bring_together(
    rng: Generator,
    start: Array,
    free: NDArray[np.int64],
    limits: Array,
    fingertip: int,
    heads: Array,
    tips: Array,
    parents: NDArray[np.int8],
    flex_axes: Array,
    rest_flex: Array,
    along: Array,
    stretch: Array,
    thickness: Array,
    radii: Array,
) -> Array:
    """Climb by random steps in the `free` angles until thumb tip and `fingertip` almost touch.

    Args:
        start, limits: (26,) and (2, 26) radians.
        heads, tips, parents, flex_axes, rest_flex, along, stretch, thickness, radii: as in
            `kinematics`.

    Returns:
        (26,) radians.
    """
    best = start.copy()
    least = np.inf
    step = 0.25
    for trial in range(160):
        angles = best.copy()
        if trial > 0:
            for i in free:
                angles[i] += step * rng.normal()
                angles[i] = min(max(angles[i], limits[0, i]), limits[1, i])
        linear, shift = kinematics.pose_bones(
            angles, heads, parents, flex_axes, rest_flex, along, stretch, thickness
        )
        points = kinematics.posed_keypoints(linear, shift, heads, tips)
        away = points[20] - points[fingertip]
        gap = abs(np.sqrt(away @ away) - PINCH_GAP_MM)
        # Staying near the start keeps the finger in its natural curve.
        strain = 4.0 * np.sum((angles - start) ** 2)
        overlap = max(kinematics.penetration(points, radii) - 2.0, 0.0)
        cost = gap + strain + 2.0 * overlap
        if cost < least:
            best, least = angles, cost
        elif step > 0.05:
            step *= 0.985
        if gap < 1.0 and overlap == 0.0:
            break
    return best
