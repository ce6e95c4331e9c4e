"""Whose hand it is: shapes, sizes and sleeves; and which shapes are held out."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from v2vpose.datasets.synthetic.kinematics import NUM_BONES, Array
from v2vpose.datasets.synthetic.rig import HandRig, RestHand, Sleeve

# Shapes beyond this plane of the shape space are held out: (C,) direction in its first components.
_HELD_OUT_DIRECTION = np.array([1.0, 1.0, -1.0]) / np.sqrt(3.0)
HELD_OUT_SHARE = 0.2
CHILD_SHARE = 0.1
ADULT_LENGTH_MM = (188.0, 13.0)
CHILD_LENGTH_MM = (130.0, 165.0)


def held_out_score(scores: Array) -> Array:
    """(..., C) shape coefficients -> (...) position along the held-out direction."""
    return np.asarray(scores[..., :3] @ _HELD_OUT_DIRECTION)


def split_scores(sample_scores: Array) -> dict[str, Array]:
    """Cut the sampled shapes (N, C) by a plane. Mixtures of one side stay on that side."""
    position = held_out_score(sample_scores)
    limit = np.quantile(position, 1.0 - HELD_OUT_SHARE)
    return {
        "train": sample_scores[position <= limit],
        "held_out": sample_scores[position > limit],
    }


def sample_scores(shapes: Array, rng: Generator) -> Array:
    """Mix two of the shapes (N, C); what is beyond the three splitting components may vary more."""
    first, second = rng.integers(len(shapes), size=2)
    mix = rng.random()
    scores = mix * shapes[first] + (1.0 - mix) * shapes[second]
    scores[3:] += rng.normal(0.0, 0.3, len(scores) - 3)
    return np.asarray(scores)


def sample_person(rig: HandRig, shapes: Array, rng: Generator) -> RestHand:
    """Draw one hand: shape from `shapes` (N, C), proportions, length and sleeve."""
    stretch = np.ones(NUM_BONES)
    thickness = np.ones(NUM_BONES)
    stretch[5:20] = rng.normal(1.0, 0.03) * rng.normal(1.0, 0.025, 15)
    thickness[5:20] = rng.normal(1.0, 0.06) * np.repeat(rng.normal(1.0, 0.025, 5), 3)
    if rng.random() < CHILD_SHARE:
        length_mm = rng.uniform(*CHILD_LENGTH_MM)
    else:
        length_mm = float(np.clip(rng.normal(*ADULT_LENGTH_MM), 155.0, 222.0))
    sleeve = Sleeve(0.0, 0.0)
    if rng.random() < 0.6:
        # From the wrist to half way up the forearm.
        sleeve = Sleeve(float(rng.uniform(15.0, 140.0)), float(rng.uniform(2.0, 22.0)))
    return rig.rest(
        sample_scores(shapes, rng),
        stretch=stretch.clip(0.85, 1.15),
        thickness=thickness.clip(0.82, 1.2),
        length_mm=length_mm,
        sleeve=sleeve,
    )
