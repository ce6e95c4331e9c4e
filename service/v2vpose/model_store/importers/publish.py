"""From foreign files to a version of the store: several epochs become one ensemble.

A version is written beside its place and moved there once it loads, so a refused import leaves
nothing behind.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import torch

from v2vpose.errors import InvalidFieldError, InvalidModelError
from v2vpose.model_store.importers import deepprior, dragonbook, t7
from v2vpose.model_store.importers.known_sets import KnownSet, known_set
from v2vpose.model_store.manifest import (
    Conventions,
    Keypoint,
    Manifest,
    RefinerRecord,
)
from v2vpose.model_store.store import ModelStore, ModelVersion
from v2vpose.model_store.write import sha256_of, write_epoch, write_manifest
from v2vpose.nets import Refiner, V2VNet
from v2vpose.values import Decode

Kind: TypeAlias = Literal["t7", "dragonbook", "deepprior"]
KINDS: Final[tuple[Kind, ...]] = ("t7", "dragonbook", "deepprior")
INPUT_SIDE: Final = 88  # section 5; both the release and the port


def import_weights(
    kind: Kind,
    files: Sequence[Path],
    out: Path,
    *,
    dataset: str,
    refiners: Sequence[Path] = (),
    side_mm: float | None = None,
    y_axis: Literal["up", "down"] | None = None,
) -> Manifest:
    """Make a version of the store from foreign weights.

    Kinds `t7` and `dragonbook` make a new version: one epoch checkpoint for each file, numbered
    from 1 in the order given. Kind `deepprior` puts refiners into a version that is there.

    Args:
        kind: `t7` (the release's model.net), `dragonbook` (the port's state dicts), `deepprior`.
        files: of the epochs, or of refiners; one refiner serves all epochs, or one each.
        out: `<store>/<model>/<version>`.
        dataset: what the weights were trained on; one of the five known sets.
        refiners: DeepPrior++ pickles to go with V2V weights; without any, the first reference
            point is used as it is.
        side_mm: edge of the cubic box (of the refiner's cube for `deepprior`) if not the set's.
        y_axis: of the world that the weights were trained in, if not the set's.

    Raises:
        InvalidFieldError: the arguments do not fit together.
        InvalidModelError: a file is refused; nothing is written then.
    """
    known = known_set(dataset)
    y_up = known.y_up if y_axis is None else y_axis == "up"
    if kind not in KINDS:
        raise InvalidFieldError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if not files:
        raise InvalidFieldError("expected at least one file of weights, got none")
    if kind == "deepprior":
        if refiners:
            raise InvalidFieldError("kind deepprior takes its refiners as files")
        return _add_refiners(files, out, known, side_mm=side_mm, y_up=y_up)
    if out.exists():
        raise InvalidFieldError(f"{out} exists; an import makes a new version")
    read = t7.read_v2v if kind == "t7" else dragonbook.read_v2v
    nets = [read(path, known, y_up=y_up) for path in files]
    _check_alike([net for net, _ in nets], files)
    each_refiner = _refiners(refiners, len(files), y_up=y_up)
    conventions = nets[0][1]
    manifest = _manifest(kind, files, out, known, nets[0][0], conventions, side_mm=side_mm)
    if refiners:
        manifest = _with_refiners(manifest, known, refiners, side_mm=None)
    with _staged(out) as stage:
        records = [
            write_epoch(stage, epoch, v2v=v2v, refiner=refiner, conventions=conventions)
            for epoch, ((v2v, _), refiner) in enumerate(
                zip(nets, each_refiner, strict=True), start=1
            )
        ]
        manifest = manifest.model_copy(update={"epochs": records})
        write_manifest(stage, manifest)
        ModelVersion(manifest, stage).check()
    return manifest


def _add_refiners(
    files: Sequence[Path], out: Path, known: KnownSet, *, side_mm: float | None, y_up: bool
) -> Manifest:
    """Write a version again, its refiners replaced; everything else stays."""
    if not (out / "manifest.json").is_file():
        raise InvalidFieldError(
            f"{out} holds no version: a refiner alone is no model; import V2V weights there first"
        )
    version = ModelStore(out.parent.parent).open(out.parent.name, out.name)
    numbers = version.manifest.epoch_numbers
    each_refiner = _refiners(files, len(numbers), y_up=y_up)
    manifest = _with_refiners(version.manifest, known, files, side_mm=side_mm)
    with _staged(out) as stage:
        records = [
            write_epoch(
                stage,
                epoch,
                v2v=version.load_epoch(epoch)[0],
                refiner=refiner,
                conventions=manifest.conventions,
            )
            for epoch, refiner in zip(numbers, each_refiner, strict=True)
        ]
        if manifest.detector is not None:
            shutil.copyfile(out / manifest.detector.file, stage / manifest.detector.file)
        manifest = manifest.model_copy(update={"epochs": records})
        write_manifest(stage, manifest)
        ModelVersion(manifest, stage).check()
    return manifest


def _manifest(
    kind: Kind,
    files: Sequence[Path],
    out: Path,
    known: KnownSet,
    v2v: V2VNet,
    conventions: Conventions,
    *,
    side_mm: float | None,
) -> Manifest:
    """Return the manifest of weights without a refiner, their epochs still to come."""
    names = known.keypoints
    if v2v.output.out_channels != len(names):
        raise InvalidModelError(
            f"{files[0]}: expected {len(names)} heatmaps, the keypoints of {known.name}, "
            f"found {v2v.output.out_channels}"
        )
    return Manifest.model_validate(
        {
            "model": out.parent.name,
            "version": out.name,
            "description": f"{len(names)} keypoints of {known.name}; imported ({kind})",
            "subject": known.subject,
            "handedness": known.handedness,
            "keypoints": [
                Keypoint(name=name, meaning=f"as the {known.name} data set labels it")
                for name in names
            ],
            "skeleton": known.skeleton,
            "input_side": INPUT_SIDE,
            "width": _shape(v2v)[0],
            "side_mm": known.side_mm if side_mm is None else side_mm,
            "near_mm": known.near_mm,
            "far_mm": known.far_mm,
            "refiner": RefinerRecord(side_mm=known.refiner_side_mm, passes=0),
            "conventions": conventions,
            "decode": Decode.ARGMAX,
            "epochs": [{"epoch": 1, "file": "none", "sha256": "0" * 64}],
            "training": {"imported": {"kind": kind, "dataset": known.name, "v2v": _named(files)}},
        }
    )


def _with_refiners(
    manifest: Manifest, known: KnownSet, files: Sequence[Path], *, side_mm: float | None
) -> Manifest:
    """Return the manifest with one pass of DeepPrior++'s refiner, whose target is one keypoint."""
    record = RefinerRecord(
        side_mm=known.refiner_side_mm if side_mm is None else side_mm, passes=1, target="keypoint"
    )
    imported = manifest.training.get("imported", {}) | {"refiners": _named(files)}
    training = manifest.training | {"imported": imported}
    return manifest.model_copy(update={"refiner": record, "training": training})


def _named(files: Sequence[Path]) -> list[dict[str, Any]]:
    return [{"file": path.name, "sha256": sha256_of(path)} for path in files]


def _refiners(files: Sequence[Path], epochs: int, *, y_up: bool) -> list[Refiner]:
    """Return a refiner for each epoch; without files, one that says "stay"."""
    if not files:
        still = Refiner()
        with torch.no_grad():
            for parameter in still.parameters():
                parameter.zero_()
        return [still] * epochs
    if len(files) not in {1, epochs}:
        raise InvalidFieldError(
            f"expected one refiner, or one for each of {epochs} epochs, got {len(files)}"
        )
    read = [deepprior.read_refiner(path, y_up=y_up) for path in files]
    return read if len(read) == epochs else read * epochs


def _check_alike(nets: Sequence[V2VNet], files: Sequence[Path]) -> None:
    """Refuse epochs of different shapes; one ensemble has one manifest."""
    shapes = [_shape(net) for net in nets]
    for shape, path in zip(shapes, files, strict=True):
        if shape != shapes[0]:
            raise InvalidModelError(
                f"{path}: expected width and keypoints {shapes[0]} as in {files[0]}, found {shape}"
            )


def _shape(net: V2VNet) -> tuple[int, int]:
    """Return (width, keypoints)."""
    return net.output.in_channels // 2, net.output.out_channels


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """Give a directory beside `out` that takes its place at the end, or vanishes."""
    parent = out.parent
    made = [p for p in (parent, *parent.parents) if not p.exists()]
    parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=parent))
    try:
        yield stage
        stage.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        stage.rename(out)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        for directory in made:
            if not any(directory.iterdir()):
                directory.rmdir()
