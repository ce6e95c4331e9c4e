"""The sensor's noise has the size that its strengths say."""

from dataclasses import replace

import numpy as np
import pytest

from v2vpose.datasets.synthetic.noise import NO_NOISE, Noise, sample_noise
from v2vpose.datasets.synthetic.sensor import observe

FOCAL_PX = 300.0


def wall(z_mm: float) -> tuple[np.ndarray, np.ndarray]:
    return np.full((120, 160), z_mm, np.float32), np.zeros((120, 160), np.uint8)


def step() -> tuple[np.ndarray, np.ndarray]:
    """400 mm on the left half, 700 mm on the right."""
    depth, labels = wall(700.0)
    depth[:, :80] = 400.0
    return depth, labels


def seen(depth_labels: tuple[np.ndarray, np.ndarray], noise: Noise, seed: int = 1) -> np.ndarray:
    return observe(*depth_labels, FOCAL_PX, noise, seed)


def test_without_noise_the_image_stays_and_nothing_becomes_zero() -> None:
    depth, labels = step()
    depth[:10] = np.inf
    expected = np.where(np.isfinite(depth), depth, 0.0)
    np.testing.assert_array_equal(seen((depth, labels), NO_NOISE), expected)


def test_one_seed_gives_one_image_and_another_seed_another() -> None:
    noise = sample_noise(np.random.default_rng(0), held_out=False)
    noise = replace(noise, sigma_at_500_mm=1.0, unit_mm=0.0)
    np.testing.assert_array_equal(seen(step(), noise, 7), seen(step(), noise, 7))
    assert (seen(step(), noise, 7) != seen(step(), noise, 8)).any()


@pytest.mark.parametrize(("z_mm", "sigma_mm"), [(500.0, 1.5), (1000.0, 6.0)])
def test_gaussian_noise_grows_with_the_square_of_z(z_mm: float, sigma_mm: float) -> None:
    error = seen(wall(z_mm), replace(NO_NOISE, sigma_at_500_mm=1.5)) - z_mm
    assert error.std() == pytest.approx(sigma_mm, rel=0.03)
    assert error.mean() == pytest.approx(0.0, abs=0.1 * sigma_mm)


def test_quantisation_steps_grow_with_the_square_of_z() -> None:
    ramp = np.tile(np.linspace(990.0, 1010.0, 160, dtype=np.float32), (120, 1))
    image = seen((ramp, np.zeros(ramp.shape, np.uint8)), replace(NO_NOISE, step_at_500_mm=1.0))
    steps = np.diff(np.unique(image))
    np.testing.assert_allclose(steps, 4.0, atol=0.15)


def test_edge_loss_takes_its_share_of_edge_pixels_and_no_other() -> None:
    lost = seen(step(), replace(NO_NOISE, edge_loss=0.4)) == 0.0
    assert lost[:, 79:81].mean() == pytest.approx(0.4, abs=0.08)
    assert not np.delete(lost, [79, 80], axis=1).any()


def test_a_slope_that_looks_steep_only_because_it_is_far_is_no_edge() -> None:
    floor = np.tile(np.linspace(2900.0, 3100.0, 160, dtype=np.float32)[:, None], (1, 160))[:120]
    lost = seen((floor, np.zeros(floor.shape, np.uint8)), replace(NO_NOISE, edge_loss=1.0)) == 0.0
    assert not lost.any()


def test_flying_pixels_lie_between_near_and_far() -> None:
    image = seen(step(), replace(NO_NOISE, flying=0.25))
    between = (image > 400.0) & (image < 700.0)
    assert between[:, 79:81].mean() == pytest.approx(0.25, abs=0.06)
    assert not np.delete(between, [79, 80], axis=1).any()


@pytest.mark.parametrize(("baseline_mm", "side"), [(20.0, slice(80, None)), (-20.0, slice(0, 0))])
def test_the_projectors_shadow_falls_beside_what_is_near(baseline_mm: float, side: slice) -> None:
    lost = seen(step(), replace(NO_NOISE, shadow_mm=baseline_mm)) == 0.0
    width_px = 20.0 * FOCAL_PX * (1 / 400.0 - 1 / 700.0)
    per_row = lost.sum(axis=1)
    # The near half is on the left, so only a shadow to the right falls on the wall.
    np.testing.assert_allclose(per_row, width_px if side.stop is None else 0.0, atol=1.0)
    assert not lost[:, :80].any()


def test_grazing_surfaces_are_lost_and_facing_ones_are_not() -> None:
    noise = replace(NO_NOISE, grazing_loss=1.0, grazing_cosine=0.2)
    columns = np.arange(160, dtype=np.float32)
    flat = np.zeros((120, 160), np.uint8)
    gentle = np.tile(500.0 + 1.0 * columns, (120, 1))
    steep = np.tile(500.0 + 11.0 * columns, (120, 1)).astype(np.float32)
    assert (seen((gentle.astype(np.float32), flat), noise) > 0).all()
    # Farther right the same step per pixel is a gentler slope; to column 14 it is steep enough.
    assert (seen((steep, flat), noise)[1:-1, 1:14] == 0).all()


def test_readings_out_of_range_are_dropped() -> None:
    image = seen(step(), replace(NO_NOISE, near_mm=450.0, far_mm=900.0))
    assert set(np.unique(image)) == {0.0, 700.0}


def test_held_out_noise_combinations_are_never_drawn_for_training() -> None:
    rng = np.random.default_rng(0)

    def octant(noise: Noise) -> tuple[bool, bool, bool]:
        return (
            noise.sigma_at_500_mm > 0.7,
            noise.step_at_500_mm > 1.0,
            noise.edge_loss > 0.25,
        )

    train = [sample_noise(rng, held_out=False) for _ in range(200)]
    other = [sample_noise(rng, held_out=True) for _ in range(200)]
    noisy = [[octant(n) for n in group if n.holes or n.jitter_px] for group in (train, other)]
    assert not set(noisy[0]) & set(noisy[1])
