"""One net of one epoch checkpoint in a format of others, checked before it is called good.

What was written is read back by that format's own runtime and must answer probes as PyTorch does in
float32; only then does the file get its name. Batches may be of any size.
"""

import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from v2vpose.errors import InvalidFieldError, InvalidModelError
from v2vpose.model_store.store import ModelVersion

Answering: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float32]]

TOLERANCE: Final = 1e-3
"""Of the largest value that PyTorch answers."""

_CROP_PX: Final = 128


class Format(StrEnum):
    """What is written."""

    ONNX = "onnx"
    OPENVINO = "openvino"
    TORCH_EXPORT = "torch-export"

    @property
    def suffix(self) -> str:
        """Of its file."""
        return {Format.ONNX: ".onnx", Format.OPENVINO: ".xml", Format.TORCH_EXPORT: ".pt2"}[self]


class Net(StrEnum):
    """Which of a checkpoint's nets."""

    V2V = "v2v"
    REFINER = "refiner"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        path: of the file; OpenVINO's weights lie beside it as .bin.
        input_name: (B, 1, S, S, S) float32 occupancy z, y, x, or (B, 1, 128, 128) crops.
        output_name: (B, K, S/2, S/2, S/2) heatmaps, or (B, 3) offsets in halves of the cube.
        difference: largest from PyTorch's answers to the probes.
        largest: largest value of PyTorch's answers.
    """

    path: Path
    input_name: str
    output_name: str
    difference: float
    largest: float


def export_epoch(
    version: ModelVersion,
    epoch: int,
    file_format: Format,
    out: Path,
    *,
    net: Net = Net.V2V,
    tolerance: float = TOLERANCE,
) -> Exported:
    """Write one net of an epoch checkpoint.

    Args:
        version: the model version.
        epoch: which checkpoint.
        file_format: what to write.
        out: its file.
        net: which of the checkpoint's nets.
        tolerance: largest difference allowed, as a share of the largest answer.

    Raises:
        InvalidFieldError: the file's suffix is another format's, or a package is missing.
        UnknownModelError: the version has no such epoch.
        InvalidModelError: the answers differ; nothing is left at `out`.
    """
    if out.suffix != file_format.suffix:
        raise InvalidFieldError(
            f"{out}: expected a file {file_format.suffix} for {file_format}, found {out.suffix!r}"
        )
    v2v, refiner = version.load_epoch(epoch)
    chosen: nn.Module = v2v if net is Net.V2V else refiner
    names = ("occupancy", "heatmaps") if net is Net.V2V else ("crop", "offset")
    probes = _probes(net, version.manifest.input_side)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder:
        written = Path(folder) / out.name
        with _needed(file_format), _quiet():
            answer = _WRITERS[file_format](chosen, probes[-1], names, written)
            difference, largest = _differences(chosen, answer, probes)
        if not difference <= tolerance * largest:
            raise InvalidModelError(
                f"{out}: expected answers within {tolerance * largest:.3g} of PyTorch's, found "
                f"{difference:.3g}; nothing was written"
            )
        for file in Path(folder).iterdir():
            shutil.move(file, out.parent / file.name)
    return Exported(out, *names, difference, largest)


def _probes(net: Net, input_side: int) -> list[Tensor]:
    """Return batches of one and of two inputs."""
    draw = torch.Generator().manual_seed(1)
    if net is Net.REFINER:
        return [torch.rand(n, 1, _CROP_PX, _CROP_PX, generator=draw) * 2 - 1 for n in (1, 2)]
    return [torch.stack([_ball(input_side, draw) for _ in range(n)]) for n in (1, 2)]


def _ball(side: int, draw: torch.Generator) -> Tensor:
    """Return a (1, S, S, S) occupancy: the surface of a ball that is not quite in the middle."""
    axes = [torch.arange(side) - side * (0.4 + 0.2 * float(torch.rand(1, generator=draw)))] * 3
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    distance = (x**2 + y**2 + z**2).sqrt()
    return ((distance - side / 4).abs() < 1).float()[None]


@torch.inference_mode()
def _differences(net: nn.Module, answer: Answering, probes: list[Tensor]) -> tuple[float, float]:
    """Return the largest difference, and the largest value; a NaN is never within tolerance."""
    differences, values = [], []
    for probe in probes:
        expected = net(probe).numpy()
        differences.append(np.abs(answer(probe.numpy()) - expected).max())
        values.append(np.abs(expected).max())
    return float(np.max(differences)), float(np.max(values))


def _write_onnx(net: nn.Module, example: Tensor, names: tuple[str, str], path: Path) -> Answering:
    import onnxruntime  # noqa: PLC0415  # extra `export`

    torch.onnx.export(
        net,
        (example,),
        path,
        input_names=[names[0]],
        output_names=[names[1]],
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda batch: np.asarray(session.run([names[1]], {names[0]: batch})[0])


def _write_openvino(
    net: nn.Module, example: Tensor, names: tuple[str, str], path: Path
) -> Answering:
    # By way of the backend, which keeps OpenVINO from phoning home.
    ov: Any = import_module("v2vpose.backends.openvino_backend").ov
    model = ov.convert_model(net, example_input=example)
    model.reshape([-1, *example.shape[1:]])
    model.input(0).get_tensor().set_names({names[0]})
    model.output(0).get_tensor().set_names({names[1]})
    ov.save_model(model, path, compress_to_fp16=False)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(ov.Core().read_model(path), "CPU", exact)
    return lambda batch: np.asarray(compiled({names[0]: batch})[names[1]])


def _write_torch_export(
    net: nn.Module, example: Tensor, names: tuple[str, str], path: Path
) -> Answering:
    del names  # a program's arguments keep the names that `forward` has
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(net, (example,), dynamic_shapes=shapes), path)
    read: Any = torch.export.load(path).module()
    return lambda batch: read(torch.from_numpy(batch)).numpy()


_WRITERS: Final[dict[Format, Callable[[nn.Module, Tensor, tuple[str, str], Path], Answering]]] = {
    Format.ONNX: _write_onnx,
    Format.OPENVINO: _write_openvino,
    Format.TORCH_EXPORT: _write_torch_export,
}
_EXTRA: Final = {Format.ONNX: "export", Format.OPENVINO: "cpu"}


@contextmanager
def _needed(file_format: Format) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise InvalidFieldError(
            f"{file_format} needs a package that is not here ({error.name}): "
            f"pip install 'v2vpose[{_EXTRA.get(file_format, 'export')}]'"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to themselves what the converters deprecate or miss of other packages."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
