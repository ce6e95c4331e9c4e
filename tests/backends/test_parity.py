"""Every backend gives the reference's answer, within a stated tolerance in millimetres."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.frames import sphere_frame
from tests.stores import write_tiny_store
from v2vpose.backends import TorchBackend
from v2vpose.backends.torch_backend import _peaks_on_device
from v2vpose.heatmaps import peaks_of
from v2vpose.localise import target_crop
from v2vpose.member import load_member
from v2vpose.values import Decode

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
    ours, theirs = peaks_of(heatmaps), _peaks_on_device(torch.from_numpy(heatmaps))
    np.testing.assert_array_equal(ours.zyx_cell, theirs.zyx_cell)
    np.testing.assert_array_equal(ours.height, theirs.height)
    np.testing.assert_array_equal(ours.patch, theirs.patch)


@needs_openvino
def test_openvino_in_f32_gives_the_references_heatmaps(version):
    from v2vpose.backends.openvino_backend import OpenVINOBackend

    v2v, refiner = version.load_epoch(1)
    theirs = OpenVINOBackend(v2v, refiner, input_side=16, precision="f32")
    ours = TorchBackend(v2v, refiner)
    occupancy = (np.random.default_rng(1).random((3, 16, 16, 16)) < 0.1).astype(np.uint8)
    a, b = ours.peaks(occupancy), theirs.peaks(occupancy)
    np.testing.assert_allclose(a.height, b.height, rtol=1e-4)
    same = (a.zyx_cell == b.zyx_cell).all(axis=-1)  # random heatmaps have ties
    assert same.mean() > 0.9
    np.testing.assert_allclose(a.patch[same], b.patch[same], rtol=1e-3, atol=1e-4)
    views = np.random.default_rng(2).uniform(-1, 1, (3, 128, 128)).astype(np.float32)
    np.testing.assert_allclose(ours.offsets(views), theirs.offsets(views), atol=1e-5)


@needs_openvino
def test_members_agree_on_their_refined_points_whatever_the_backend(version, crops):
    a, b = (load_member(version, 1, backend=name) for name in ("torch", "openvino"))
    ours = a.estimate(crops, Decode.SUBVOXEL).answers
    theirs = b.estimate(crops, Decode.SUBVOXEL).answers
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.refined_point_mm, other.refined_point_mm, atol=0.01)
        assert one.occupied_vox == other.occupied_vox


@pytest.mark.gpu
def test_cuda_agrees_with_the_reference(version, crops):
    a, b = (load_member(version, 1, backend=name) for name in ("torch", "cuda"))
    for one, other in zip(
        a.estimate(crops, Decode.SUBVOXEL).answers,
        b.estimate(crops, Decode.SUBVOXEL).answers,
        strict=True,
    ):
        np.testing.assert_allclose(one.refined_point_mm, other.refined_point_mm, atol=0.05)


@needs_openvino
def test_openvino_cannot_phone_home():
    code = (
        "import sys\n"
        "from v2vpose.backends.openvino_backend import OpenVINOBackend\n"
        "from v2vpose.nets import Refiner, build_v2v\n"
        "OpenVINOBackend(build_v2v(2, width=2), Refiner(), input_side=16)\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "CI"}
    paths = os.pathsep.join(path for path in sys.path if path)
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**environment, "PYTHONPATH": paths}
    )
