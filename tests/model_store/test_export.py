import importlib.util
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.stores import INPUT_SIDE, NUM_KEYPOINTS, write_tiny_store
from v2vpose.__main__ import app
from v2vpose.errors import InvalidFieldError, InvalidModelError, UnknownModelError
from v2vpose.model_store import export
from v2vpose.model_store.export import Format, Net, export_epoch

NEEDED = {Format.ONNX: ("onnx", "onnxruntime", "onnxscript"), Format.OPENVINO: ("openvino",)}
FORMATS = [
    pytest.param(
        f,
        marks=pytest.mark.skipif(
            any(importlib.util.find_spec(name) is None for name in NEEDED.get(f, ())),
            reason="its extra is not installed",
        ),
    )
    for f in Format
]


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return write_tiny_store(tmp_path_factory.mktemp("store"), epochs=2)


def answer_of(file_format, path, batch):
    """What the written file says, asked as a stranger would."""
    if file_format is Format.ONNX:
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return session.run(["heatmaps"], {"occupancy": batch})[0]
    if file_format is Format.OPENVINO:
        import openvino as ov

        exact = {"INFERENCE_PRECISION_HINT": "f32"}
        return ov.Core().compile_model(str(path), "CPU", exact)({"occupancy": batch})["heatmaps"]
    return torch.export.load(path).module()(torch.from_numpy(batch)).detach().numpy()


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_file_answers_as_the_checkpoint_does_for_any_batch(version, tmp_path, file_format):
    out = tmp_path / f"net{file_format.suffix}"
    done = export_epoch(version, 2, file_format, out)
    assert done.difference <= 1e-5 * done.largest
    batch = np.random.default_rng(0).integers(0, 2, (3, 1, *(INPUT_SIDE,) * 3)).astype(np.float32)
    v2v, _ = version.load_epoch(2)
    with torch.inference_mode():
        expected = v2v(torch.from_numpy(batch)).numpy()
    assert expected.shape[:2] == (3, NUM_KEYPOINTS)
    np.testing.assert_allclose(
        answer_of(file_format, out, batch), expected, atol=1e-5 * abs(expected).max()
    )
    first, _ = version.load_epoch(1)
    with torch.inference_mode():  # another checkpoint would not pass
        assert not np.allclose(first(torch.from_numpy(batch)).numpy(), expected, rtol=0.1)


def test_the_refiner_goes_too(version, tmp_path):
    out = tmp_path / "refiner.pt2"
    done = export_epoch(version, 1, Format.TORCH_EXPORT, out, net=Net.REFINER)
    assert (done.input_name, done.output_name) == ("crop", "offset")
    crops = torch.rand(3, 1, 128, 128)
    _, refiner = version.load_epoch(1)
    with torch.inference_mode():
        torch.testing.assert_close(torch.export.load(out).module()(crops), refiner(crops))


@pytest.mark.parametrize("wrong", [1.01, float("nan")])
def test_an_answer_that_differs_is_refused_and_leaves_nothing(
    version, tmp_path, monkeypatch, wrong
):
    def off(net, _example, _names, path):
        path.write_bytes(b"wrong")
        return lambda batch: net(torch.from_numpy(batch)).detach().numpy() * wrong

    monkeypatch.setitem(export._WRITERS, Format.ONNX, off)
    with pytest.raises(InvalidModelError, match=r"expected answers within .* found"):
        export_epoch(version, 1, Format.ONNX, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_suffix_and_an_unknown_epoch_are_refused(version, tmp_path):
    with pytest.raises(InvalidFieldError, match=r"expected a file \.xml for openvino, found"):
        export_epoch(version, 1, Format.OPENVINO, tmp_path / "net.onnx")
    with pytest.raises(UnknownModelError, match="has no epoch 9"):
        export_epoch(version, 9, Format.ONNX, tmp_path / "net.onnx")


def test_a_missing_package_is_named_with_its_extra(version, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InvalidFieldError, match=r"onnxruntime.*v2vpose\[export\]"):
        export_epoch(version, 1, Format.ONNX, tmp_path / "net.onnx")


def test_the_probes_are_surfaces():
    for probe in export._probes(Net.V2V, INPUT_SIDE):
        assert 0.01 < float(probe.mean()) < 0.3


def test_the_command_says_what_it_wrote_and_how_near_it_is(version, tmp_path):
    store = version.directory.parents[1]
    out = tmp_path / "net.pt2"
    done = CliRunner().invoke(
        app, ["export", "torch-export", "--epoch", "1", "--out", str(out), "--store", str(store)]
    )
    assert done.exit_code == 0, done.stderr
    assert "hand 1, epoch 1, v2v" in done.stdout
    assert "largest difference" in done.stdout
    assert out.is_file()
