"""Reading the store: `<root>/<model>/<version>/manifest.json` and the files it names.

Only safetensors are read; no pickle is ever loaded. Every refusal names file, expected and found.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from v2vpose.errors import InvalidModelError, UnknownModelError
from v2vpose.model_store.manifest import EpochRecord, FileRecord, Manifest
from v2vpose.nets import CentreDetector, Refiner, V2VNet, build_v2v

MANIFEST_FILE = "manifest.json"
V2V_PREFIX = "v2v."
REFINER_PREFIX = "refiner."
DETECTOR_PREFIX = "detector."
CONVENTIONS_KEY = "conventions"
_DEFAULT_MODEL = "hand"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version of one model: its manifest, and where its files are."""

    manifest: Manifest
    directory: Path

    def load_epoch(self, epoch: int) -> tuple[V2VNet, Refiner]:
        """Load an epoch checkpoint in float32, evaluation mode.

        Raises:
            UnknownModelError: the version has no such epoch.
            InvalidModelError: file missing, wrong checksum, shape or conventions.
        """
        record = self._record(epoch)
        path, content = self._read(record)
        _check_conventions(path, content, self.manifest)
        tensors = _tensors(path, content)
        v2v = build_v2v(len(self.manifest.keypoints), width=self.manifest.width)
        refiner = Refiner()
        _fill(v2v, V2V_PREFIX, tensors, path)
        _fill(refiner, REFINER_PREFIX, tensors, path)
        _check_no_strangers(tensors, (V2V_PREFIX, REFINER_PREFIX), path)
        return v2v.eval(), refiner.eval()

    def load_detector(self) -> CentreDetector | None:
        """Load the detector of first reference points, if the version has one.

        Raises:
            InvalidModelError: file missing, wrong checksum or shape.
        """
        if self.manifest.detector is None:
            return None
        path, content = self._read(self.manifest.detector)
        tensors = _tensors(path, content)
        detector = CentreDetector()
        _fill(detector, DETECTOR_PREFIX, tensors, path)
        _check_no_strangers(tensors, (DETECTOR_PREFIX,), path)
        return detector.eval()

    def check(self) -> None:
        """Load everything once.

        Raises:
            InvalidModelError: something in this version is broken.
        """
        for epoch in self.manifest.epoch_numbers:
            self.load_epoch(epoch)
        self.load_detector()

    def _record(self, epoch: int) -> EpochRecord:
        for record in self.manifest.epochs:
            if record.epoch == epoch:
                return record
        raise UnknownModelError(
            f"{self.manifest.model} version {self.manifest.version} has no epoch {epoch}; "
            f"it has {', '.join(map(str, self.manifest.epoch_numbers))}"
        )

    def _read(self, record: FileRecord) -> tuple[Path, bytes]:
        path = self.directory / record.file
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InvalidModelError(
                f"{path}: expected a safetensors file, found none ({error.strerror})"
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != record.sha256:
            raise InvalidModelError(f"{path}: expected sha256 {record.sha256}, found {found}")
        return path, content


class ModelStore:
    """A directory of model versions.

    Args:
        root: holds `<model>/<version>/manifest.json`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def models(self) -> list[str]:
        """Return the names of all models, sorted."""
        return sorted({path.parent.parent.name for path in self._manifests("*", "*")})

    def unnamed(self) -> list[str]:
        """Return the models to take where none is named: `hand` alone if there is one, else all."""
        models = self.models()
        return [_DEFAULT_MODEL] if _DEFAULT_MODEL in models else models

    def versions(self, model: str) -> list[str]:
        """Return the versions of a model, oldest first."""
        return sorted((path.parent.name for path in self._manifests(model, "*")), key=_number)

    def open(self, model: str, version: str | None = None) -> ModelVersion:
        """Read the manifest of a version; the newest if none is named.

        Raises:
            UnknownModelError: no such model or version.
            InvalidModelError: the manifest is broken.
        """
        versions = self.versions(model) if model in self.models() else []
        if not versions:
            known = ", ".join(self.models()) or "none"
            raise UnknownModelError(f"no model {model!r}; the store has: {known}")
        chosen = versions[-1] if version is None else version
        if chosen not in versions:
            raise UnknownModelError(
                f"{model} has no version {chosen!r}; it has: {', '.join(versions)}"
            )
        return _read_version(self.root / model / chosen)

    def _manifests(self, model: str, version: str) -> list[Path]:
        return list(self.root.glob(f"{model}/{version}/{MANIFEST_FILE}"))


def _read_version(directory: Path) -> ModelVersion:
    path = directory / MANIFEST_FILE
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'manifest'}: {e['msg']}" for e in error.errors()
        )
        raise InvalidModelError(f"{path}: {problems}") from error
    expected = (directory.parent.name, directory.name)
    found = (manifest.model, manifest.version)
    if found != expected:
        raise InvalidModelError(f"{path}: expected model and version {expected}, found {found}")
    return ModelVersion(manifest=manifest, directory=directory)


def _check_conventions(path: Path, content: bytes, manifest: Manifest) -> None:
    expected = manifest.conventions.model_dump(mode="json")
    found = json.loads(_metadata(path, content).get(CONVENTIONS_KEY, "{}"))
    for name, value in expected.items():
        if found.get(name) != value:
            raise InvalidModelError(
                f"{path}: convention {name}: expected {value!r} (manifest), "
                f"found {found.get(name)!r}; one ensemble cannot mix conventions"
            )


def _metadata(path: Path, content: bytes) -> dict[str, str]:
    """Return the header's metadata; the header is a length, then JSON."""
    length = int.from_bytes(content[:8], "little")
    try:
        return dict(json.loads(content[8 : 8 + length]).get("__metadata__", {}))
    except (ValueError, AttributeError) as error:
        raise InvalidModelError(f"{path}: expected a safetensors header, found {error}") from error


def _tensors(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        return load_tensors(content)
    except SafetensorError as error:
        raise InvalidModelError(f"{path}: expected a safetensors file, found {error}") from error


def _fill(net: nn.Module, prefix: str, tensors: dict[str, Tensor], path: Path) -> None:
    """Copy tensors into a net, every one of the net's and with its exact shape."""
    state = net.state_dict()
    for name, target in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        source = tensors.get(prefix + name)
        if source is None:
            raise InvalidModelError(f"{path}: expected a tensor {prefix + name}, found none")
        if source.shape != target.shape:
            raise InvalidModelError(
                f"{path}: {prefix + name}: expected shape {tuple(target.shape)}, "
                f"found {tuple(source.shape)}"
            )
        if not torch.isfinite(source).all():
            raise InvalidModelError(
                f"{path}: {prefix + name}: expected finite weights, found NaN or infinity"
            )
        target.copy_(source)


def _check_no_strangers(tensors: dict[str, Tensor], prefixes: tuple[str, ...], path: Path) -> None:
    strangers = [name for name in tensors if not name.startswith(prefixes)]
    if strangers:
        raise InvalidModelError(
            f"{path}: expected tensors of {' and '.join(prefixes)} only, found {strangers[0]}"
        )


def _number(version: str) -> tuple[int, str]:
    return (int(version) if version.isdigit() else -1, version)
