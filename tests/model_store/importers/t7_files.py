"""A tiny writer of Torch7's binary format, the release's module tree, and a runner of such trees.

Independent of the importer: the tree is built as the release's `model.lua` builds it, and run by
walking it with torch functions, so that a wrong path or axis in the importer shows.
"""

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn import functional

NAMES = {"<f4": "Cuda", "<f8": "Double", "<i8": "Long"}


@dataclass(eq=False)
class Module:
    """A Torch7 module: class name and fields."""

    name: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Slice:
    """A tensor that views a shared storage, as after `getParameters`."""

    storage: np.ndarray
    first: int
    shape: tuple[int, ...]


def t7_bytes(value: Any) -> bytes:
    """Serialize as `torch.save` does."""
    writer = _Writer()
    writer.value(value)
    return b"".join(writer.parts)


class _Writer:
    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.indices: dict[int, int] = {}
        self.kept: list[Any] = []

    def value(self, value: Any) -> None:
        if value is None:
            self.ints(0)
        elif isinstance(value, bool):
            self.ints(5, int(value))
        elif isinstance(value, int | float):
            self.ints(1)
            self.parts.append(struct.pack("<d", value))
        elif isinstance(value, str):
            self.ints(2)
            self.text(value)
        elif isinstance(value, dict | list):
            self.table(value)
        else:
            self.torch(value)

    def table(self, value: Any) -> None:
        self.ints(3)
        if self.known(value):
            return
        items = list(enumerate(value, start=1)) if isinstance(value, list) else list(value.items())
        self.ints(len(items))
        for key, inner in items:
            self.value(key)
            self.value(inner)

    def torch(self, value: Any) -> None:
        self.ints(4)
        if self.known(value):
            return
        self.text("V 1")
        if isinstance(value, Module):
            self.text(value.name)
            self.value(value.fields)
        elif isinstance(value, Slice):
            self.tensor(value.storage, value.first, value.shape)
        elif isinstance(value, _Storage):
            self.text(f"torch.{NAMES[value.array.dtype.str]}Storage")
            self.parts.append(struct.pack("<q", value.array.size) + value.array.tobytes())
        else:
            self.tensor(value.reshape(-1), 0, value.shape)

    def tensor(self, storage: np.ndarray, first: int, shape: tuple[int, ...]) -> None:
        self.text(f"torch.{NAMES[storage.dtype.str]}Tensor")
        strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
        self.ints(len(shape))
        self.parts.append(struct.pack(f"<{2 * len(shape) + 1}q", *shape, *strides, first + 1))
        self.value(_storage_of(storage, self.kept))

    def known(self, value: Any) -> bool:
        """Write the index; whether its content came before."""
        again = id(value) in self.indices
        self.kept.append(value)
        self.ints(self.indices.setdefault(id(value), len(self.indices) + 1))
        return again

    def ints(self, *values: int) -> None:
        self.parts.append(struct.pack(f"<{len(values)}i", *values))

    def text(self, text: str) -> None:
        content = text.encode("latin-1")
        self.ints(len(content))
        self.parts.append(content)


@dataclass(eq=False)
class _Storage:
    array: np.ndarray


def _storage_of(array: np.ndarray, kept: list[Any]) -> _Storage:
    """The one storage object of an array, so that views share it."""
    for one in kept:
        if isinstance(one, _Storage) and one.array is array:
            return one
    return _Storage(array)


class ReleaseNet:
    """The release's `model.lua` with random weights, at any width."""

    def __init__(
        self,
        *,
        joints: int,
        width: int = 2,
        seed: int = 0,
        old_norm: bool = False,
        half: bool = False,
    ) -> None:
        """`half`: weights that half precision holds exactly."""
        self.rng = np.random.default_rng(seed)
        self.old_norm = old_norm
        self.kept = "<f2" if half else "<f4"
        w = width
        pool = Module("nn.VolumetricMaxPooling", {"kT": 2, "dT": 2})
        inner = self.sequential(
            pool,
            self.res(4 * w, 8 * w),
            self.res(8 * w, 8 * w),
            self.res(8 * w, 8 * w),
            self.up(8 * w, 4 * w),
        )
        outer = self.sequential(
            pool,
            self.res(2 * w, 4 * w),
            self.table("nn.ConcatTable", inner, self.res(4 * w, 4 * w)),
            Module("nn.CAddTable"),
            self.res(4 * w, 4 * w),
            self.up(4 * w, 2 * w),
        )
        middle = self.sequential(
            self.table("nn.ConcatTable", outer, self.res(2 * w, 2 * w)),
            Module("nn.CAddTable"),
            self.res(2 * w, 2 * w),
            self.block(2 * w, 2 * w, 1),
            self.block(2 * w, 2 * w, 1),
        )
        self.root = self.sequential(
            self.block(1, w, 7),
            pool,
            self.res(w, 2 * w),
            self.res(2 * w, 2 * w),
            self.res(2 * w, 2 * w),
            middle,
            self.conv(2 * w, joints, 1),
        )
        self.flatten()

    def table(self, name: str, *modules: Module) -> Module:
        return Module(name, {"modules": list(modules), "train": False})

    def sequential(self, *modules: Module) -> Module:
        return self.table("nn.Sequential", *modules)

    def conv(self, n: int, m: int, k: int) -> Module:
        weight = (
            self.rng.normal(0, (n * k**3) ** -0.5, (m, n, k, k, k)).astype(self.kept).astype("<f4")
        )
        bias = self.rng.normal(0, 0.1, m).astype(self.kept).astype("<f4")
        return Module("cudnn.normal3DConv", {"weight": weight, "bias": bias, "kT": k})

    def norm(self, n: int) -> Module:
        draw = self.rng.uniform
        fields = {
            "weight": draw(0.5, 1.5, n).astype(self.kept).astype("<f4"),
            "bias": draw(-0.2, 0.2, n).astype(self.kept).astype("<f4"),
            "running_mean": draw(-0.2, 0.2, n).astype(self.kept).astype("<f4"),
            "running_var": draw(0.5, 1.5, n).astype(self.kept).astype("<f4"),
        }
        if self.old_norm:
            fields["running_std"] = (
                (1 / np.sqrt(fields.pop("running_var") + 1e-5)).astype(self.kept).astype("<f4")
            )
        return Module("cudnn.VolumetricBatchNormalization", {**fields, "eps": 1e-5})

    def block(self, n: int, m: int, k: int) -> Module:
        return self.sequential(self.conv(n, m, k), self.norm(m), Module("cudnn.ReLU"))

    def up(self, n: int, m: int) -> Module:
        weight = self.rng.normal(0, n**-0.5, (n, m, 2, 2, 2)).astype(self.kept).astype("<f4")
        bias = self.rng.normal(0, 0.1, m).astype(self.kept).astype("<f4")
        deconv = Module("cudnn.normal3DdeConv", {"weight": weight, "bias": bias})
        return self.sequential(deconv, self.norm(m), Module("cudnn.ReLU"))

    def res(self, n: int, m: int) -> Module:
        branch = self.sequential(
            *(self.conv(n, m, 3), self.norm(m), Module("cudnn.ReLU")),
            *(self.conv(m, m, 3), self.norm(m)),
        )
        skip = (
            Module("nn.Identity") if n == m else self.sequential(self.conv(n, m, 1), self.norm(m))
        )
        concat = self.table("nn.ConcatTable", branch, skip)
        return self.sequential(concat, Module("nn.CAddTable"), Module("cudnn.ReLU"))

    def flatten(self) -> None:
        """Move all weights and biases into one storage, as `getParameters` does."""
        modules = [m for m in _walk(self.root) if isinstance(m.fields.get("weight"), np.ndarray)]
        arrays = [(m, name) for m in modules for name in ("weight", "bias")]
        storage = np.concatenate([m.fields[name].reshape(-1) for m, name in arrays])
        first = 0
        for m, name in arrays:
            shape = m.fields[name].shape
            m.fields[name] = Slice(storage, first, shape)
            first += int(np.prod(shape))

    def run(self, volume: np.ndarray, dtype: torch.dtype = torch.double) -> np.ndarray:
        """Heatmaps (K, S, S, S) of a (2S, 2S, 2S) volume, in the net's own axes."""
        with torch.no_grad():
            answer: torch.Tensor = _run(self.root, torch.from_numpy(volume)[None, None].to(dtype))
            return answer[0].numpy()


def _walk(module: Module) -> list[Module]:
    found = [module]
    for inner in module.fields.get("modules", []):
        found += _walk(inner)
    return found


def tensor(value: Any) -> torch.Tensor:
    if isinstance(value, Slice):
        size = int(np.prod(value.shape))
        value = value.storage[value.first : value.first + size].reshape(value.shape)
    return torch.from_numpy(np.ascontiguousarray(value)).double()


def _run(module: Module, x: Any) -> Any:
    kind, fields = module.name.split(".")[1], module.fields
    if kind == "Sequential":
        for inner in fields["modules"]:
            x = _run(inner, x)
        return x
    if kind == "ConcatTable":
        return [_run(inner, x) for inner in fields["modules"]]
    if kind == "CAddTable":
        return x[0] + x[1]
    plain = {
        "Identity": lambda x: x,
        "ReLU": functional.relu,
        "VolumetricMaxPooling": lambda x: functional.max_pool3d(x, 2),
    }
    return plain[kind](x) if kind in plain else _run_weights(kind, fields, x)


def _run_weights(kind: str, fields: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    weight, bias = (tensor(fields[name]).to(x.dtype) for name in ("weight", "bias"))
    if kind == "normal3DConv":
        return functional.conv3d(x, weight, bias, padding=weight.shape[-1] // 2)
    if kind == "normal3DdeConv":
        return functional.conv_transpose3d(x, weight, bias, stride=2)
    if "running_std" in fields:
        scale = tensor(fields["running_std"]).to(x.dtype)
    else:
        scale = 1 / torch.sqrt(tensor(fields["running_var"]).to(x.dtype) + 1e-5)
    axes = (1, -1, 1, 1, 1)
    mean = tensor(fields["running_mean"]).to(x.dtype).view(axes)
    return (x - mean) * (scale * weight).view(axes) + bias.view(axes)
