"""Pixel, camera, voxel, heatmap and back: the steps together, without a trained net."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from tests import reference
from v2vpose.geometry.camera import camera_from_pixel, pixel_from_camera
from v2vpose.geometry.cubic_box import (
    CubicBox,
    camera_from_heatmap,
    camera_from_voxel,
    heatmap_from_camera,
    voxel_from_camera,
)
from v2vpose.heatmaps import gaussian_heatmaps, peak_coordinates, peaks_of
from v2vpose.values import Decode, Intrinsics
from v2vpose.voxel import voxelize

INTRINSICS = Intrinsics(fx_px=475.0, fy_px=470.0, cx_px=321.5, cy_px=238.25)


@given(
    u=st.floats(0, 639),
    v=st.floats(0, 479),
    depth=st.floats(150, 2000),
    ref=st.tuples(st.floats(-300, 300), st.floats(-300, 300), st.floats(150, 2000)),
    side_mm=st.floats(80, 2000),
    input_side=st.sampled_from([48, 64, 88]),
)
def test_pixel_to_camera_to_voxel_to_heatmap_and_all_the_way_back(
    u: float, v: float, depth: float, ref: reference.Point, side_mm: float, input_side: int
) -> None:
    box = CubicBox(np.array(ref), side_mm)
    point_mm = camera_from_pixel(np.array([u, v]), np.array(depth), INTRINSICS)
    ijk_vox = voxel_from_camera(point_mm, box, input_side=input_side)
    from_voxel_mm = camera_from_voxel(ijk_vox, box, input_side=input_side)
    xyz_cell = heatmap_from_camera(from_voxel_mm, box, heatmap_side=input_side // 2)
    from_heatmap_mm = camera_from_heatmap(xyz_cell, box, heatmap_side=input_side // 2)
    np.testing.assert_allclose(from_heatmap_mm, point_mm, atol=1e-8)
    np.testing.assert_allclose(pixel_from_camera(from_heatmap_mm, INTRINSICS), [u, v], atol=1e-6)


@given(
    cell=st.tuples(*[st.floats(1.0, 20.0)] * 3),
    ref=st.tuples(st.floats(-300, 300), st.floats(-300, 300), st.floats(150, 2000)),
    side_mm=st.floats(80, 2000),
)
def test_a_point_drawn_as_a_heatmap_is_found_again(
    cell: reference.Point, ref: reference.Point, side_mm: float
) -> None:
    box = CubicBox(np.array(ref), side_mm)
    truth_mm = np.array(reference.centred_decode(cell, ref, side_mm, 22))
    label = heatmap_from_camera(truth_mm, box, heatmap_side=22)
    heatmaps = gaussian_heatmaps(torch.from_numpy(label), heatmap_side=22, sigma_cell=1.7).numpy()
    peaks = peaks_of(heatmaps)
    argmax_mm, subvoxel_mm = (
        camera_from_heatmap(peak_coordinates(peaks, decode), box, heatmap_side=22)
        for decode in (Decode.ARGMAX, Decode.SUBVOXEL)
    )
    cell_mm = side_mm / 22
    np.testing.assert_allclose(argmax_mm, truth_mm, atol=0.5001 * cell_mm)
    np.testing.assert_allclose(subvoxel_mm, truth_mm, atol=0.002 * cell_mm)


class SeesTheReading(torch.nn.Module):
    """A hand-made net: its heatmap is 1 in the cell of the one occupied voxel."""

    def forward(self, occupancy: torch.Tensor) -> torch.Tensor:
        return functional.max_pool3d(occupancy, 2)


@pytest.mark.parametrize(
    ("row", "col", "depth"),
    [(238, 322, 500.0), (200, 322, 500.0), (270, 322, 500.0), (238, 250, 500.0), (238, 400, 500.0),
     (238, 322, 400.0), (238, 322, 600.0), (150, 410, 431.0), (330, 260, 588.0)],
)  # fmt: skip
def test_one_reading_is_found_again_within_its_cell(row: int, col: int, depth: float) -> None:
    depth_mm = np.zeros((480, 640), dtype=np.float32)
    depth_mm[row, col] = depth
    truth_mm = reference.reproject(col, row, depth, (475.0, 470.0, 321.5, 238.25))
    box = CubicBox(np.array([3.0, -2.0, 500.0]), side_mm=250.0)
    occupancy = voxelize(depth_mm, INTRINSICS, box, input_side=88)
    assert occupancy.sum() == 1
    heatmaps = SeesTheReading()(torch.from_numpy(occupancy)[None, None].float()).numpy()
    found = peak_coordinates(peaks_of(heatmaps), Decode.ARGMAX)[0, 0]
    found_mm = camera_from_heatmap(found, box, heatmap_side=44)
    np.testing.assert_allclose(found_mm, truth_mm, atol=250 / 44 / 2)
