"""Every backend gives the reference's answer, within a stated tolerance in millimetres."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.frames import sphere_frame
from tests.stores import write_tiny_store
from v2vpose.api.decode import Limits, decode_image
from v2vpose.backends import BackendName, TorchBackend
from v2vpose.backends.torch_backend import peaks_on_device
from v2vpose.heatmaps import peaks_of
from v2vpose.localise import mirrored_crop, target_crop
from v2vpose.member import load_member
from v2vpose.model_store import ModelStore
from v2vpose.values import Decode, DepthFrame, Intrinsics, TargetCrop

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="extra `cpu` is not installed"
)


@pytest.fixture
def version(tmp_path):
    return write_tiny_store(tmp_path, epochs=1)


@pytest.fixture
def crops():
    return [
        target_crop(sphere_frame((x, 0, 500), wall_mm=560), np.array([x, 0, 480.0]),
                    side_mm=250, reach_mm=300)
        for x in (-40.0, 0.0, 55.0)
    ]  # fmt: skip


def test_peaks_on_the_device_are_the_peaks_of_numpy():
    heatmaps = np.random.default_rng(3).normal(size=(2, 4, 6, 7, 8)).astype(np.float32)
    heatmaps[0, 0, 0, 0, 0] = 9  # a corner: half of its patch lies outside
    ours = peaks_of(heatmaps)
    zyx_cell, height, patch = peaks_on_device(torch.from_numpy(heatmaps))
    np.testing.assert_array_equal(ours.zyx_cell, zyx_cell)
    np.testing.assert_array_equal(ours.height, height)
    np.testing.assert_array_equal(ours.patch, patch)


@needs_openvino
def test_openvino_in_f32_gives_the_references_heatmaps(version):
    from v2vpose.backends.openvino_backend import OpenVINOBackend

    v2v, refiner = version.load_epoch(1)
    theirs = OpenVINOBackend(v2v, refiner, input_side=16, precision="f32")
    ours = TorchBackend(v2v, refiner)
    occupancy = (np.random.default_rng(1).random((3, 16, 16, 16)) < 0.1).astype(np.uint8)
    a, b = (net.peaks(occupancy, with_slices=True) for net in (ours, theirs))
    np.testing.assert_allclose(a.height, b.height, rtol=1e-4)
    same = (a.zyx_cell == b.zyx_cell).all(axis=-1)  # random heatmaps have ties
    assert same.mean() > 0.9
    np.testing.assert_allclose(a.patch[same], b.patch[same], rtol=1e-3, atol=1e-4)
    assert a.slices is not None
    assert b.slices is not None
    levels = a.slices[same].astype(int) - b.slices[same]  # (N, 3, S, S)
    assert np.abs(levels).max() <= 1
    views = np.random.default_rng(2).uniform(-1, 1, (3, 128, 128)).astype(np.float32)
    np.testing.assert_allclose(ours.offsets(views), theirs.offsets(views), atol=1e-5)


@needs_openvino
def test_members_agree_on_their_refined_points_whatever_the_backend(version, crops):
    a, b = (load_member(version, 1, backend=name) for name in ("torch", "openvino-f32"))
    ours = a.estimate(crops, Decode.SUBVOXEL).answers
    theirs = b.estimate(crops, Decode.SUBVOXEL).answers
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.refined_point_mm, other.refined_point_mm, atol=0.01)
        assert one.occupied_vox == other.occupied_vox


PLACES = 6
REFERENCE: BackendName = "torch"
ROOT = Path(__file__).parents[2]


@needs_openvino
@pytest.mark.parametrize(
    ("backend", "median_limit_mm"), [("openvino-f32", 0.01), ("openvino-bf16", 0.2)]
)
def test_the_bundled_hand_is_the_same_on_every_cpu_backend(
    backend: BackendName, median_limit_mm: float
) -> None:
    """In millimetres, over looks at a real hand; run with -s to see the figures."""
    version = ModelStore(ROOT / "model_store").open("hand")
    epoch = version.manifest.epoch_numbers[-1]
    truth, other = (
        load_member(version, epoch, backend=name, threads=1) for name in (REFERENCE, backend)
    )
    crops = hand_crops(version.manifest.side_mm)
    ours, theirs = (
        np.stack([a.keypoints_mm for a in m.estimate(crops, Decode.SUBVOXEL).answers])
        for m in (truth, other)
    )
    apart_mm = np.linalg.norm(ours - theirs, axis=-1)  # (N, K)
    median_mm, most_mm = float(np.median(apart_mm)), float(apart_mm.max())
    print(f"{backend}: median {median_mm:.4f} mm, most {most_mm:.3f} mm")
    assert median_mm < median_limit_mm
    # a near tie between two cells may go either way; a wrong precision would move everything
    assert np.quantile(apart_mm, 0.95) < 10 * median_limit_mm


def hand_crops(side_mm: float) -> list[TargetCrop]:
    """The hand of the README, looked at from places around its middle, and in the mirror."""
    png = (ROOT / "examples" / "hand.png").read_bytes()
    depth_mm = decode_image(png, None, depth_unit_mm=1.0, limits=Limits())
    frame = DepthFrame(depth_mm, Intrinsics(694.86, 698.57, 334, 251.46))
    places_mm = np.array([-198.0, -21.0, 764.0]) + np.random.default_rng(0).normal(
        scale=15, size=(PLACES, 3)
    )
    crops = [target_crop(frame, xyz, side_mm=side_mm, reach_mm=300) for xyz in places_mm]
    return crops + [mirrored_crop(crop) for crop in crops]


@pytest.mark.gpu
def test_cuda_agrees_with_the_reference(version, crops):
    a, b = (load_member(version, 1, backend=name) for name in ("torch", "cuda"))
    for size in (3, 1, 2, 3):  # each a graph of its own, the last one replayed
        ours, theirs = (m.estimate(crops[:size], Decode.SUBVOXEL).answers for m in (a, b))
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one.refined_point_mm, other.refined_point_mm, atol=0.05)
            np.testing.assert_allclose(one.confidence, other.confidence, atol=0.02)


@needs_openvino
def test_openvino_cannot_phone_home():
    code = (
        "import sys\n"
        "from v2vpose.backends.openvino_backend import OpenVINOBackend\n"
        "from v2vpose.nets import Refiner, build_v2v\n"
        "OpenVINOBackend(build_v2v(2, width=2), Refiner(), input_side=16, precision='f32')\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "CI"}
    paths = os.pathsep.join(path for path in sys.path if path)
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**environment, "PYTHONPATH": paths}
    )
