"""From heatmaps to points: argmax, sub-voxel refinement, and what each costs in millimetres."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import reference
from v2vpose.geometry.cubic_box import (
    RELEASE_CELL_OFFSET,
    CubicBox,
    camera_from_heatmap,
    heatmap_from_camera,
)
from v2vpose.heatmaps import PATCH_SIDE, gaussian_heatmaps, peak_coordinates, peaks_of
from v2vpose.values import Decode, FloatArray

SIDE = 44
REF_MM = (20.0, -10.0, 500.0)
BOX = CubicBox(np.array(REF_MM), side_mm=250.0)


def perfect_heatmaps(xyz_cell: FloatArray, *, side: int = SIDE) -> FloatArray:
    """Equation 1 with the paper's sigma, (N, S, S, S) float32."""
    points = torch.from_numpy(xyz_cell).float()
    return gaussian_heatmaps(points, heatmap_side=side, sigma_cell=1.7).numpy()


def decoded_cells(xyz_cell: FloatArray, decode: Decode) -> FloatArray:
    """Coordinates found in perfect heatmaps, a hundred at a time."""
    found = [
        peak_coordinates(peaks_of(perfect_heatmaps(part)), decode)
        for part in np.split(xyz_cell, range(100, len(xyz_cell), 100))
    ]
    return np.concatenate(found)


def random_points_mm(count: int, *, margin_mm: float) -> FloatArray:
    reach_mm = 125 - margin_mm
    offsets_mm = np.random.default_rng(20).uniform(-reach_mm, reach_mm, (count, 3))
    return np.array(REF_MM) + offsets_mm


def mean_error_mm(found_mm: FloatArray, truth_mm: FloatArray) -> float:
    return float(np.linalg.norm(found_mm - truth_mm, axis=-1).mean())


def test_the_peak_is_the_reference_s_first_highest_cell() -> None:
    rng = np.random.default_rng(21)
    for _ in range(20):
        volume = rng.integers(0, 50, (5, 6, 7)).astype(np.float32)  # many ties
        found = peak_coordinates(peaks_of(volume), Decode.ARGMAX)
        np.testing.assert_array_equal(found, reference.argmax(volume.tolist()))


def test_one_hot_cell_comes_back_as_x_y_z_with_its_height() -> None:
    volume = np.zeros((SIDE, SIDE, SIDE), dtype=np.float32)
    volume[7, 20, 41] = 0.75
    peaks = peaks_of(volume)
    np.testing.assert_array_equal(peaks.zyx_cell, [7, 20, 41])
    assert peaks.height == 0.75
    np.testing.assert_array_equal(peak_coordinates(peaks, Decode.ARGMAX), [41, 20, 7])
    np.testing.assert_array_equal(peak_coordinates(peaks, Decode.SUBVOXEL), [41, 20, 7])


def test_negative_heatmaps_have_a_peak_too() -> None:
    volume = np.full((6, 6, 6), -2.0, dtype=np.float32)
    volume[1, 2, 3] = -1.0
    peaks = peaks_of(volume)
    assert peaks.height == -1.0
    for decode in Decode:
        np.testing.assert_array_equal(peak_coordinates(peaks, decode), [3, 2, 1])


def test_an_empty_heatmap_is_decoded_to_its_first_cell_without_a_warning() -> None:
    peaks = peaks_of(np.zeros((6, 6, 6), dtype=np.float32))
    assert peaks.height == 0
    for decode in Decode:
        np.testing.assert_array_equal(peak_coordinates(peaks, decode), [0, 0, 0])


@pytest.mark.parametrize("cell", [(4, 5, 6), (0, 5, 6), (4, 9, 6), (1, 1, 10), (0, 9, 11)])
def test_the_patch_is_what_surrounds_the_peak_and_0_outside_the_heatmap(
    cell: reference.Index,
) -> None:
    shape = (8, 10, 12)
    volume = np.random.default_rng(22).random(shape).astype(np.float32)
    volume[cell] = 2
    patch = peaks_of(volume).patch
    assert patch.shape == (PATCH_SIDE,) * 3
    for offset in np.ndindex(5, 5, 5):
        z, y, x = (c + o - 2 for c, o in zip(cell, offset, strict=True))
        inside = 0 <= z < shape[0] and 0 <= y < shape[1] and 0 <= x < shape[2]
        assert patch[offset] == (volume[z, y, x] if inside else 0)


@pytest.mark.parametrize("lead", [(), (4,), (2, 3), (0,), (2, 0)])
@pytest.mark.parametrize("decode", list(Decode))
def test_every_leading_shape_equals_one_by_one(lead: tuple[int, ...], decode: Decode) -> None:
    heatmaps = np.random.default_rng(23).random((*lead, 6, 7, 8)).astype(np.float32)
    peaks = peaks_of(heatmaps)
    assert peaks.zyx_cell.shape == (*lead, 3)
    assert peaks.height.shape == lead
    assert peaks.patch.shape == (*lead, 5, 5, 5)
    found = peak_coordinates(peaks, decode)
    assert found.shape == (*lead, 3)
    for index in np.ndindex(lead):
        alone = peaks_of(heatmaps[index])
        np.testing.assert_array_equal(found[index], peak_coordinates(alone, decode))
        np.testing.assert_array_equal(peaks.height[index], alone.height)


def test_the_refinement_moves_along_the_axis_on_which_the_heatmap_leans() -> None:
    truth_cell = np.array([[20.3, 10.0, 30.0], [20.0, 10.3, 30.0], [20.0, 10.0, 30.3]])
    np.testing.assert_allclose(decoded_cells(truth_cell, Decode.SUBVOXEL), truth_cell, atol=1e-3)


@given(st.tuples(*[st.floats(1.5, 20.5)] * 3))
def test_the_refinement_is_exact_for_a_perfect_heatmap(cell: reference.Point) -> None:
    heatmaps = perfect_heatmaps(np.array([cell]), side=22)
    found = peak_coordinates(peaks_of(heatmaps), Decode.SUBVOXEL)
    np.testing.assert_allclose(found, [cell], atol=2e-3)


@given(st.integers(0, 2**16))
def test_the_refinement_never_moves_a_peak_by_more_than_one_cell(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=(3, 6, 6, 6))
    peaks = peaks_of(noise)
    moved = peak_coordinates(peaks, Decode.SUBVOXEL) - peak_coordinates(peaks, Decode.ARGMAX)
    assert np.isfinite(moved).all()
    assert np.abs(moved).max() <= 1


@pytest.mark.parametrize("decode", list(Decode))
@pytest.mark.parametrize(
    "cell", [(22.0, 22.0, 22.0), (3.0, 40.0, 17.0), (0.0, 43.0, 21.0), (41.0, 2.0, 0.0)]
)
def test_a_net_that_peaks_at_a_known_cell_comes_back_as_that_point_in_mm(
    cell: reference.Point, decode: Decode
) -> None:
    class PeaksThere(torch.nn.Module):
        def forward(self, occupancy: torch.Tensor) -> torch.Tensor:
            point = torch.tensor(cell).expand(len(occupancy), 1, 3)
            return gaussian_heatmaps(point, heatmap_side=SIDE, sigma_cell=1.7)

    heatmaps = PeaksThere()(torch.zeros(2, 1, 88, 88, 88)).numpy()  # (B, K, 44, 44, 44)
    found = peak_coordinates(peaks_of(heatmaps), decode)
    point_mm = camera_from_heatmap(found, BOX, heatmap_side=SIDE)
    expected_mm = reference.centred_decode(cell, REF_MM, 250.0)
    np.testing.assert_allclose(point_mm, [[expected_mm]] * 2, rtol=0, atol=1e-3)


@pytest.mark.parametrize("outermost", [0.0, SIDE - 1.0])
@pytest.mark.parametrize("lean", [-0.4, 0.0, 0.4])
def test_the_refinement_stays_at_an_outermost_cell_along_that_axis_only(
    outermost: float, lean: float
) -> None:
    truth_cell = np.array([[outermost + lean, 20.3, 21.8], [20.3, 21.8, outermost + lean]])
    expected = [[outermost, 20.3, 21.8], [20.3, 21.8, outermost]]
    np.testing.assert_allclose(decoded_cells(truth_cell, Decode.SUBVOXEL), expected, atol=1e-3)


def test_argmax_of_perfect_centred_heatmaps_costs_2_73_mm_in_a_250_mm_cube() -> None:
    truth_mm = random_points_mm(2000, margin_mm=10)
    labels = heatmap_from_camera(truth_mm, BOX, heatmap_side=SIDE)
    cells = decoded_cells(labels, Decode.ARGMAX)
    found_mm = camera_from_heatmap(cells, BOX, heatmap_side=SIDE)
    np.testing.assert_allclose(mean_error_mm(found_mm, truth_mm), 2.73, atol=0.15)


def test_argmax_of_perfect_released_heatmaps_costs_3_53_mm_in_a_250_mm_cube() -> None:
    truth_mm = random_points_mm(2000, margin_mm=10)
    labels = np.array(
        [
            reference.release_label((float(x), float(y), float(z)), REF_MM, 250.0)
            for x, y, z in truth_mm
        ]
    )
    cells = decoded_cells(labels, Decode.ARGMAX)
    found_mm = camera_from_heatmap(cells, BOX, heatmap_side=SIDE, cell_offset=RELEASE_CELL_OFFSET)
    np.testing.assert_allclose(mean_error_mm(found_mm, truth_mm), 3.53, atol=0.15)


def test_sub_voxel_decoding_of_perfect_heatmaps_costs_less_than_a_tenth_of_a_mm() -> None:
    truth_mm = random_points_mm(1000, margin_mm=10)
    labels = heatmap_from_camera(truth_mm, BOX, heatmap_side=SIDE)
    found_mm = camera_from_heatmap(decoded_cells(labels, Decode.SUBVOXEL), BOX, heatmap_side=SIDE)
    assert np.linalg.norm(found_mm - truth_mm, axis=-1).max() < 0.1
