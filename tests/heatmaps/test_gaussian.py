"""The training target against loops over equation 1."""

import numpy as np
import pytest
import torch

from tests import reference
from v2vpose.heatmaps.gaussian import SIGMA_CELL, gaussian_heatmaps, sigma_cell


def one_heatmap(centre: reference.Point, *, side: int, sigma: float) -> torch.Tensor:
    return gaussian_heatmaps(
        torch.tensor(centre, dtype=torch.float64), heatmap_side=side, sigma_cell=sigma
    )


@pytest.mark.parametrize(
    "centre", [(3.0, 5.0, 8.0), (0.0, 0.0, 0.0), (2.25, 7.5, 4.125), (-1.5, 11.0, 13.75)]
)
def test_a_heatmap_equals_equation_1_by_loops(centre: reference.Point) -> None:
    expected = reference.equation_1(centre, 12, 1.7)
    heatmap = one_heatmap(centre, side=12, sigma=1.7)
    np.testing.assert_allclose(heatmap.numpy(), expected, rtol=1e-12, atol=0)


def test_the_peak_is_1_and_lies_at_z_y_x() -> None:
    heatmap = one_heatmap((3.0, 5.0, 8.0), side=12, sigma=1.7)
    assert heatmap[8, 5, 3] == 1
    assert heatmap.max() == 1


def test_one_sigma_away_the_value_is_exp_of_minus_a_half() -> None:
    heatmap = one_heatmap((2.0, 4.0, 4.0), side=8, sigma=2.0)
    np.testing.assert_allclose(heatmap[4, 4, 4], np.exp(-0.5), rtol=1e-12)


def test_the_gaussian_is_not_cut_off() -> None:
    heatmap = one_heatmap((0.0, 0.0, 0.0), side=24, sigma=1.7)
    np.testing.assert_allclose(heatmap[23, 23, 23], np.exp(-3 * 23**2 / (2 * 1.7**2)), rtol=1e-9)
    assert heatmap.min() > 0


def test_sigma_is_the_paper_s_1_7_at_44_cells_and_scales_with_the_grid() -> None:
    assert SIGMA_CELL == 1.7
    assert sigma_cell(44) == 1.7
    np.testing.assert_allclose(sigma_cell(22), 0.85)
    np.testing.assert_allclose(sigma_cell(24) / 24, 1.7 / 44)


@pytest.mark.parametrize("lead", [(), (4,), (2, 3), (0,)])
def test_every_leading_shape_equals_one_by_one(lead: tuple[int, ...]) -> None:
    centres = torch.rand((*lead, 3), generator=torch.Generator().manual_seed(1)) * 8
    heatmaps = gaussian_heatmaps(centres, heatmap_side=8, sigma_cell=1.0)
    assert heatmaps.shape == (*lead, 8, 8, 8)
    assert heatmaps.dtype == torch.float32
    for batched, centre in zip(heatmaps.reshape(-1, 8, 8, 8), centres.reshape(-1, 3), strict=True):
        alone = gaussian_heatmaps(centre, heatmap_side=8, sigma_cell=1.0)
        np.testing.assert_array_equal(batched.numpy(), alone.numpy())
