"""The release's `model.net`: a Torch7 module tree with zyx weights, labels floored to voxels."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from v2vpose.errors import InvalidModelError
from v2vpose.model_store.importers.known_sets import KnownSet
from v2vpose.model_store.importers.layers import BLOCKS, CONV, NORM, ForeignBlock, Tensors, v2v_from
from v2vpose.model_store.importers.t7_file import T7Object, read_t7
from v2vpose.model_store.manifest import Conventions, LabelConvention
from v2vpose.nets import V2VNet

_RESIDUAL: Final = (0, 0)  # inside a residual block: ConcatTable, its first branch
_SKIP: Final = (0, 1)
_EPSILON: Final = 1e-5  # of the normalisation, needed for files before its version 2


def read_v2v(path: Path, known: KnownSet, *, y_up: bool) -> tuple[V2VNet, Conventions]:
    """Read the release's network.

    Raises:
        InvalidModelError: not a Torch7 file, or not the release's module tree.
    """
    try:
        root = read_t7(path.read_bytes())
    except InvalidModelError as error:
        raise InvalidModelError(f"{path}: {error}") from error
    tensors: Tensors = {}
    for block in BLOCKS:
        tensors |= _block(root, block, path)
    return v2v_from(tensors, y_up=y_up, path=path), conventions(known, y_up=y_up)


def conventions(known: KnownSet, *, y_up: bool) -> Conventions:
    """Return what nets of the release were trained with.

    Its loader writes MSRA's depth patches one pixel too far left and up (0-based bounding box
    against 1-based tensors), so that the labels lie one pixel beside the readings.
    """
    label = LabelConvention.RELEASE_Y_UP if y_up else LabelConvention.RELEASE
    offset_px = -1 if known.name == "msra" else 0
    return Conventions(label=label, ray_offset=offset_px / known.intrinsics.fx_px)


def _block(root: Any, block: ForeignBlock, path: Path) -> Tensors:
    if block.kind == "conv":
        return _fields(root, block.t7, block.ours, CONV, path)
    if block.kind == "conv_norm":
        return _conv_norm(root, block.t7, block.ours, (0, 1), path)
    branch = (*block.t7, *_RESIDUAL)
    tensors = _conv_norm(root, branch, f"{block.ours}.main", (0, 1), path)
    tensors |= _conv_norm(root, branch, f"{block.ours}.main", (3, 4), path)
    skip = (*block.t7, *_SKIP)
    if not _module(root, skip, path).class_name.endswith(".Identity"):
        tensors |= _conv_norm(root, skip, f"{block.ours}.skip", (0, 1), path)
    return tensors


def _conv_norm(
    root: Any, at: tuple[int, ...], ours: str, pair: tuple[int, int], path: Path
) -> Tensors:
    conv, norm = pair
    return _fields(root, (*at, conv), f"{ours}.{conv}", CONV, path) | _fields(
        root, (*at, norm), f"{ours}.{norm}", NORM, path
    )


def _fields(
    root: Any, at: tuple[int, ...], ours: str, names: tuple[str, ...], path: Path
) -> Tensors:
    module = _module(root, at, path)
    tensors: Tensors = {}
    for name in names:
        value = module.fields.get(name)
        if value is None and name == "running_var":
            value = _old_variance(module.fields.get("running_std"))
        if not isinstance(value, np.ndarray):
            raise InvalidModelError(
                f"{path}: module {_dotted(at)} ({module.class_name}): "
                f"expected a tensor {name}, found {type(value).__name__}"
            )
        tensors[f"{ours}.{name}"] = value
    return tensors


def _old_variance(inverse_std: Any) -> NDArray[Any] | None:
    """Return the variance from 1 / sqrt(variance + epsilon), which version 1 stored."""
    if not isinstance(inverse_std, np.ndarray):
        return None
    with np.errstate(divide="ignore"):
        variance: NDArray[Any] = inverse_std.astype(np.float64) ** -2 - _EPSILON
    return variance


def _module(root: Any, at: tuple[int, ...], path: Path) -> T7Object:
    """Return the module at a path of 0-based indices; Lua counts from 1."""
    found = root
    for depth, index in enumerate(at):
        modules = found.fields.get("modules") if isinstance(found, T7Object) else None
        found = modules.get(float(index + 1)) if isinstance(modules, dict) else None
        if not isinstance(found, T7Object):
            raise InvalidModelError(
                f"{path}: expected the release's module tree, found no module "
                f"{_dotted(at[: depth + 1])}"
            )
    if not isinstance(found, T7Object):
        raise InvalidModelError(f"{path}: expected a module, found {type(found).__name__}")
    return found


def _dotted(at: tuple[int, ...]) -> str:
    return ".".join(map(str, at))
