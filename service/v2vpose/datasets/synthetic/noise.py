"""How much a depth camera errs: strengths of the noise that `sensor` applies."""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.random import Generator

CLEAN_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Noise:
    """Strengths for one frame. The *_at_500 lengths hold at 500 mm and grow with z^2.

    Attributes:
        sigma_at_500_mm: independent Gaussian noise per pixel.
        bumps_at_500_mm: Gaussian noise that is smooth over about 8 pixels.
        step_at_500_mm: quantisation (of disparity).
        jitter_px: lateral noise, shows at edges.
        edge_loss, flying: share of edge pixels without a reading; with one between near and far.
        grazing_loss: share lost where the surface is almost along the ray.
        grazing_cosine: below this cosine that happens.
        holes, blobs: how many small round and larger ragged areas have no reading.
        shadow_mm: baseline to the projector; its sign is the shadow's side. 0 = none.
        hair_loss: share of a head's surface without a reading.
        near_mm, far_mm: range of the sensor.
        unit_mm: unit of the stored integers.
    """

    sigma_at_500_mm: float
    bumps_at_500_mm: float
    step_at_500_mm: float
    jitter_px: float
    edge_loss: float
    flying: float
    grazing_loss: float
    grazing_cosine: float
    holes: int
    blobs: int
    shadow_mm: float
    hair_loss: float
    near_mm: float
    far_mm: float
    unit_mm: float


NO_NOISE = Noise(
    **{f.name: 0 for f in fields(Noise) if f.name not in ("far_mm", "unit_mm")},
    far_mm=np.inf,
    unit_mm=0.0,
)


def sample_noise(rng: Generator, *, held_out: bool) -> Noise:
    """Draw the strengths of one frame; a CLEAN_SHARE of the frames is nearly clean.

    Two of the eight octants of (sigma, step, edge loss) belong to the held-out split alone.
    """
    while True:
        strong = rng.uniform(0.0, 1.0, 3)
        octant = tuple(bool(s > 0.5) for s in strong)
        if (octant in ((True, False, True), (False, True, False))) == held_out:
            break
    noise = Noise(
        sigma_at_500_mm=0.2 + 2.0 * float(strong[0]) ** 2,
        bumps_at_500_mm=float(rng.uniform(0.0, 1.5)),
        step_at_500_mm=2.0 * float(strong[1]),
        jitter_px=float(rng.uniform(0.0, 0.6)),
        edge_loss=0.5 * float(strong[2]),
        flying=float(rng.uniform(0.0, 0.25)) if rng.random() < 0.6 else 0.0,
        grazing_loss=float(rng.uniform(0.0, 1.0)),
        grazing_cosine=float(rng.uniform(0.05, 0.3)),
        holes=int(rng.poisson(3.0)),
        blobs=int(rng.poisson(0.7)),
        shadow_mm=float(rng.uniform(-40.0, 40.0)) if rng.random() < 0.45 else 0.0,
        hair_loss=float(rng.uniform(0.0, 0.9)),
        near_mm=float(rng.choice([0.0, 100.0, 150.0])),
        far_mm=float(rng.uniform(1000.0, 4000.0)),
        unit_mm=float(rng.choice([0.125, 1.0])),
    )
    if rng.random() >= CLEAN_SHARE:
        return noise
    return replace(
        noise,
        sigma_at_500_mm=0.2,
        bumps_at_500_mm=0.0,
        step_at_500_mm=0.1 * noise.step_at_500_mm,
        jitter_px=0.0,
        edge_loss=0.1 * noise.edge_loss,
        flying=0.0,
        grazing_loss=0.0,
        holes=0,
        blobs=0,
        shadow_mm=0.0,
        hair_loss=0.0,
    )


def sample_room_noise(rng: Generator, *, held_out: bool) -> Noise:
    """Draw the strengths of a camera that looks across a room: it errs less, and sees farther."""
    noise = sample_noise(rng, held_out=held_out)
    return replace(
        noise,
        sigma_at_500_mm=0.2 * noise.sigma_at_500_mm,
        bumps_at_500_mm=0.3 * noise.bumps_at_500_mm,
        step_at_500_mm=0.4 * noise.step_at_500_mm,
        shadow_mm=2.0 * noise.shadow_mm,
        hair_loss=0.6 * noise.hair_loss,
        near_mm=float(rng.choice([0.0, 300.0, 500.0])),
        far_mm=float(rng.uniform(4000.0, 12000.0)),
        unit_mm=1.0,
    )
