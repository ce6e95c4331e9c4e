"""A reader of Torch7's binary serialization (`torch.save`, little-endian, 64-bit `long`).

The format, from torch7's File.lua, Tensor.c and Storage.c: a value is an int32 tag and its content.
Tables and Torch objects carry an int32 index and are written once; later mentions are the index
alone. Nothing is executed; functions are refused; every size is checked against what is left of
the file before anything is allocated.
"""

import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from v2vpose.errors import InvalidModelError

_NIL, _NUMBER, _STRING, _TABLE, _TORCH, _BOOLEAN = range(6)
_FUNCTIONS: Final = (6, 7, 8)
_MAX_DEPTH: Final = 120  # of nested values; the release's net needs 40
_MAX_AXES: Final = 8
_ELEMENT: Final = {
    "Double": "<f8",
    "Float": "<f4",
    "Half": "<f2",
    "Long": "<i8",
    "Int": "<i4",
    "Short": "<i2",
    "Char": "<i1",
    "Byte": "<u1",
    "Cuda": "<f4",
    "CudaDouble": "<f8",
    "CudaHalf": "<f2",
    "CudaLong": "<i8",
    "CudaInt": "<i4",
    "CudaShort": "<i2",
    "CudaChar": "<i1",
    "CudaByte": "<u1",
}


@dataclass(slots=True)
class T7Object:
    """A Torch object that is no tensor: its class name and its fields."""

    class_name: str
    fields: dict[Any, Any]


def read_t7(content: bytes) -> Any:
    """Return the value in a .t7 file: T7Object, dict, array, str, float, bool or None.

    Raises:
        InvalidModelError: the bytes are not such a file.
    """
    reader = _Reader(content)
    try:
        return reader.value(0)
    except (struct.error, UnicodeDecodeError, TypeError) as error:
        raise reader.refusal(f"a Torch7 binary file ({error})") from error


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0
        self._seen: dict[int, Any] = {}

    def refusal(self, expected: str) -> InvalidModelError:
        return InvalidModelError(f"byte {self._at}: expected {expected}")

    def value(self, depth: int) -> Any:
        """Read one value; `depth` counts the values around it."""
        if depth > _MAX_DEPTH:
            raise self.refusal(f"at most {_MAX_DEPTH} nested values")
        tag = self._int()
        if tag == _NIL:
            return None
        if tag == _NUMBER:
            return struct.unpack("<d", self._take(8))[0]
        if tag == _STRING:
            return self._string()
        if tag == _BOOLEAN:
            return self._int() == 1
        if tag == _TABLE:
            return self._table(depth)
        if tag == _TORCH:
            return self._torch(depth)
        if tag in _FUNCTIONS:
            raise self.refusal("data only, found a Lua function, which is never run")
        raise self.refusal(f"a type tag 0 to 8, found {tag}")

    def _table(self, depth: int) -> dict[Any, Any]:
        index = self._int()
        if index in self._seen:
            known = self._seen[index]
            if not isinstance(known, dict):
                raise self.refusal(f"index {index} to be a table")
            return known
        table: dict[Any, Any] = {}
        self._seen[index] = table
        for _ in range(self._count(self._int(), least_bytes=8)):
            key = self.value(depth + 1)
            table[key] = self.value(depth + 1)
        return table

    def _torch(self, depth: int) -> Any:
        index = self._int()
        if index in self._seen:
            return self._seen[index]
        name = self._string()
        if name.startswith("V "):
            name = self._string()
        kind, is_tensor, is_storage = _kind(name)
        if is_storage:
            self._seen[index] = self._storage(kind)
        elif is_tensor:
            self._seen[index] = self._tensor(kind, depth)
        else:
            found = T7Object(name, {})
            self._seen[index] = found  # before its fields: they may point back
            fields = self.value(depth + 1)
            if not isinstance(fields, dict):
                raise self.refusal(f"the fields of a {name}")
            found.fields.update(fields)
        return self._seen[index]

    def _storage(self, kind: str) -> NDArray[Any]:
        dtype = np.dtype(_ELEMENT[kind])
        count = self._count(self._long(), least_bytes=dtype.itemsize)
        return np.frombuffer(self._take(count * dtype.itemsize), dtype)

    def _tensor(self, kind: str, depth: int) -> NDArray[Any]:
        axes = self._int()
        if not 0 <= axes <= _MAX_AXES:
            raise self.refusal(f"0 to {_MAX_AXES} axes, found {axes}")
        shape = [self._long() for _ in range(axes)]
        strides = [self._long() for _ in range(axes)]
        first = self._long() - 1
        storage = self.value(depth + 1)
        dtype = np.dtype(_ELEMENT[kind])
        if axes == 0 or storage is None:
            return np.zeros(0, dtype)
        last = first + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        inside = (
            isinstance(storage, np.ndarray)
            and storage.dtype == dtype
            and min(shape) > 0
            and min(strides) > 0  # so that a view is never larger than what it views
            and first >= 0
            and last < storage.size
        )
        if not inside or int(np.prod(shape, dtype=object)) > storage.size:
            raise self.refusal(f"a tensor inside its storage, found shape {shape}")
        view = np.lib.stride_tricks.as_strided(
            storage[first:], shape, [step * dtype.itemsize for step in strides], writeable=False
        )
        return view.copy()

    def _count(self, count: int, *, least_bytes: int) -> int:
        """Return a count that the rest of the file can hold."""
        if not 0 <= count * least_bytes <= len(self._content) - self._at:
            raise self.refusal(f"as many elements as the file has bytes for, found {count}")
        return count

    def _string(self) -> str:
        return self._take(self._count(self._int(), least_bytes=1)).decode("latin-1")

    def _int(self) -> int:
        return int(struct.unpack("<i", self._take(4))[0])

    def _long(self) -> int:
        return int(struct.unpack("<q", self._take(8))[0])

    def _take(self, size: int) -> bytes:
        if size > len(self._content) - self._at:
            raise self.refusal(f"{size} more bytes, found {len(self._content) - self._at}")
        taken = self._content[self._at : self._at + size]
        self._at += size
        return taken


def _kind(class_name: str) -> tuple[str, bool, bool]:
    """Return (element kind, is a tensor, is a storage) of a class name."""
    for ending, is_tensor in (("Tensor", True), ("Storage", False)):
        kind = class_name.removeprefix("torch.").removesuffix(ending)
        if class_name == f"torch.{kind}{ending}" and kind in _ELEMENT:
            return kind, is_tensor, not is_tensor
    return "", False, False
