"""Writing a model version: fp16 safetensors, and the manifest that names them."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from v2vpose.model_store.manifest import Conventions, EpochRecord, FileRecord, Manifest
from v2vpose.model_store.store import (
    CONVENTIONS_KEY,
    DETECTOR_PREFIX,
    MANIFEST_FILE,
    REFINER_PREFIX,
    V2V_PREFIX,
)
from v2vpose.nets import CentreDetector, Refiner, V2VNet

_HEADER_SIZE: Final = struct.Struct("<Q")  # of a safetensors file: first its length, then JSON
_METADATA: Final = "__metadata__"
_ALIGNMENT: Final = 8


def write_epoch(
    directory: Path, epoch: int, *, v2v: V2VNet, refiner: Refiner, conventions: Conventions
) -> EpochRecord:
    """Write `epoch-NN.safetensors`, half precision, and return its manifest entry."""
    tensors = _half(V2V_PREFIX, v2v) | _half(REFINER_PREFIX, refiner)
    metadata = {
        "epoch": str(epoch),
        CONVENTIONS_KEY: json.dumps(conventions.model_dump(mode="json")),
    }
    file = f"epoch-{epoch:02d}.safetensors"
    return EpochRecord(epoch=epoch, file=file, sha256=_write(directory / file, tensors, metadata))


def write_detector(directory: Path, detector: CentreDetector) -> FileRecord:
    """Write `detector.safetensors`, half precision, and return its manifest entry."""
    file = "detector.safetensors"
    tensors = _half(DETECTOR_PREFIX, detector)
    return FileRecord(file=file, sha256=_write(directory / file, tensors, {}))


def write_manifest(directory: Path, manifest: Manifest) -> Path:
    """Write `manifest.json`, readable by people."""
    path = directory / MANIFEST_FILE
    _replace(path, (manifest.model_dump_json(indent=2) + "\n").encode())
    return path


def sha256_of(path: Path) -> str:
    """Return the checksum of a file, as manifests hold it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _half(prefix: str, net: nn.Module) -> dict[str, Tensor]:
    """Return the weights by name; running variances stay float32, they exceed half's range."""
    return {
        prefix + name: tensor.detach()
        .cpu()
        .to(torch.float32 if name.endswith("running_var") else torch.float16)
        .contiguous()
        for name, tensor in net.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    content = _in_order(save_tensors(tensors, metadata=metadata))
    _replace(path, content)
    return hashlib.sha256(content).hexdigest()


def _in_order(content: bytes) -> bytes:
    """Sort the metadata of a safetensors file: each process writes it in an order of its own.

    The same weights are then the same bytes, and the same checksum.
    """
    (size,) = _HEADER_SIZE.unpack_from(content)
    start, end = _HEADER_SIZE.size, _HEADER_SIZE.size + size
    header = json.loads(content[start:end])
    if _METADATA in header:
        header[_METADATA] = dict(sorted(header[_METADATA].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // _ALIGNMENT) * _ALIGNMENT)
    return _HEADER_SIZE.pack(len(text)) + text + content[end:]


def _replace(path: Path, content: bytes) -> None:
    """Write beside the file, then rename, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)
