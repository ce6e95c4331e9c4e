"""Checkpoints of the PyTorch port (dragonbook/V2V-PoseNet-pytorch): state dicts, xyz weights."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from v2vpose.errors import InvalidModelError
from v2vpose.model_store.importers.known_sets import KnownSet
from v2vpose.model_store.importers.layers import BLOCKS, Tensors, v2v_from
from v2vpose.model_store.manifest import Conventions, LabelConvention
from v2vpose.nets import V2VNet

_ZYX_FROM_XYZ: Final = (0, 1, 4, 3, 2)
_WRAPPERS: Final = ("module.", "basic_model.")
_PIXEL_OFFSET: Final = 1
"""Its loader counts pixels from 1, so that readings lie one pixel right and below."""


def read_v2v(path: Path, known: KnownSet, *, y_up: bool) -> tuple[V2VNet, Conventions]:
    """Read a checkpoint of the port, or of one of its forks.

    Raises:
        InvalidModelError: not a state dict, or not the port's layers.
    """
    tensors: Tensors = {}
    for name, tensor in _state_dict(path).items():
        if name.endswith("num_batches_tracked"):
            continue
        array = tensor.detach().float().numpy()
        tensors[_our_name(name, path)] = (
            array.transpose(_ZYX_FROM_XYZ) if array.ndim == 5 else array
        )
    return v2v_from(tensors, y_up=y_up, path=path), conventions(known)


def conventions(known: KnownSet) -> Conventions:
    """Return what nets of the port were trained with; its labels do not mind the y axis."""
    return Conventions(
        label=LabelConvention.DRAGONBOOK, ray_offset=_PIXEL_OFFSET / known.intrinsics.fx_px
    )


def _state_dict(path: Path) -> Mapping[str, Tensor]:
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InvalidModelError(
            f"{path}: expected tensors alone, found a pickle of other classes (a whole module?); "
            "loading it would run its code. Where you trust it, save its state_dict() and import "
            "that"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InvalidModelError(f"{path}: expected a PyTorch state dict, found {error}") from error
    for key in ("model_state_dict", "state_dict"):
        if isinstance(content, dict) and key in content:
            content = content[key]
    if not (
        isinstance(content, dict)
        and content
        and all(isinstance(k, str) and isinstance(t, Tensor) for k, t in content.items())
    ):
        raise InvalidModelError(
            f"{path}: expected a state dict, or one under model_state_dict, found neither"
        )
    return content


def _our_name(name: str, path: Path) -> str:
    bare = name
    while bare.startswith(_WRAPPERS):
        bare = bare.partition(".")[2]
    for block in BLOCKS:
        if not bare.startswith(f"{block.port}."):
            continue
        rest = bare.removeprefix(f"{block.port}.")
        if block.kind == "residual":
            rest = rest.replace("res_branch.", "main.").replace("skip_con.", "skip.")
        return f"{block.ours}.{rest}"
    raise InvalidModelError(f"{path}: expected the port's layers, found {name}")
