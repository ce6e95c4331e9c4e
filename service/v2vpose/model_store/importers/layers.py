"""From a foreign net's tensors to our V2V net: names, shapes, axes.

Nets trained in a y-up world see the grid upside down. Mirroring their kernels along y gives the
net that sees ours: convolutions (odd, padded alike on both sides), poolings and deconvolutions of
even grids all commute with the mirror, so the new net is exact and nothing is flipped later.
What a mirror cannot undo is a floor: see `LabelConvention.RELEASE_Y_UP`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from v2vpose.errors import InvalidModelError
from v2vpose.nets import V2VNet, build_v2v

Tensors: TypeAlias = dict[str, NDArray[Any]]
CONV: Final = ("weight", "bias")
NORM: Final = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True, slots=True)
class ForeignBlock:
    """One block of the net under its three names.

    Attributes:
        ours: prefix in `V2VNet`.
        t7: path of 0-based module indices in the Torch7 release.
        port: prefix in the PyTorch port.
        kind: convolution and normalisation, a residual block, or a convolution alone.
    """

    ours: str
    t7: tuple[int, ...]
    port: str
    kind: Literal["conv_norm", "residual", "conv"]


_INNER: Final[tuple[tuple[str, tuple[int, ...], str], ...]] = (
    ("encode1", (0, 1), "encoder_res1"),
    ("encode2", (0, 2, 0, 1), "encoder_res2"),
    ("middle", (0, 2, 0, 2), "mid_res"),
    ("decode2", (0, 2, 0, 3), "decoder_res2"),
    ("up2", (0, 2, 0, 4), "decoder_upsample2.block"),
    ("skip2", (0, 2, 1), "skip_res2"),
    ("decode1", (0, 4), "decoder_res1"),
    ("up1", (0, 5), "decoder_upsample1.block"),
    ("skip1", (1,), "skip_res1"),
)
BLOCKS: Final = (
    ForeignBlock("front.0", (0,), "front_layers.0.block", "conv_norm"),
    ForeignBlock("front.2", (2,), "front_layers.2", "residual"),
    ForeignBlock("front.3", (3,), "front_layers.3", "residual"),
    ForeignBlock("front.4", (4,), "front_layers.4", "residual"),
    *(
        ForeignBlock(
            f"encoder_decoder.{ours}",
            (5, 0, *path),
            f"encoder_decoder.{port}",
            "conv_norm" if ours.startswith("up") else "residual",
        )
        for ours, path, port in _INNER
    ),
    ForeignBlock("back.0", (5, 2), "back_layers.0", "residual"),
    ForeignBlock("back.1", (5, 3), "back_layers.1.block", "conv_norm"),
    ForeignBlock("back.2", (5, 4), "back_layers.2.block", "conv_norm"),
    ForeignBlock("output", (6,), "output_layer", "conv"),
)


def v2v_from(tensors: Mapping[str, NDArray[Any]], *, y_up: bool, path: Path) -> V2VNet:
    """Return our net, float32 and in evaluation mode, filled with foreign tensors.

    Args:
        tensors: by our names; 5-D weights indexed (., ., z, y, x).
        y_up: whether the net was trained in a y-up world.
        path: of the file, for refusals.

    Raises:
        InvalidModelError: a tensor is missing or left over, or its shape or values are wrong.
    """
    first, last = (_required(tensors, name, path) for name in ("front.0.0.weight", "output.weight"))
    net = build_v2v(len(last), width=len(first))
    state = net.state_dict()
    for name, target in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        source = _required(tensors, name, path)
        if source.shape != tuple(target.shape):
            raise InvalidModelError(
                f"{path}: {name}: expected shape {tuple(target.shape)}, found {source.shape}"
            )
        if not np.isfinite(source).all():
            raise InvalidModelError(f"{path}: {name}: expected finite weights, found others")
        upright = np.flip(source, axis=3) if y_up and source.ndim == 5 else source
        target.copy_(torch.from_numpy(np.array(upright, dtype=np.float32, order="C")))
    strangers = sorted(set(tensors) - set(state))
    if strangers:
        raise InvalidModelError(f"{path}: expected the release's layers only, found {strangers[0]}")
    return net.eval()


def _required(tensors: Mapping[str, NDArray[Any]], name: str, path: Path) -> NDArray[Any]:
    if name not in tensors:
        raise InvalidModelError(f"{path}: expected a tensor for {name}, found none")
    return tensors[name]
