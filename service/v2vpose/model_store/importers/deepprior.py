"""Refiners trained with DeepPrior++ (`net_*_COM_AUGMENT.pkl`): pickles of Python 2 and Theano.

A pickle can run anything, so this one may name nothing but NumPy arrays; every other class is
refused before it is looked up. Theano's convolution turns its kernel round, ours does not; its
fully connected weights are (in, out), ours (out, in).
"""

import io
import pickle
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from v2vpose.errors import InvalidModelError
from v2vpose.nets import Refiner

_MAX_BYTES: Final = 256 * 1024**2  # the net has 14 MB
# DeepPrior++'s number of each layer, and its name here; 10 and 12 are dropout.
_CONVOLUTIONS: Final = {
    3 * branch + layer: f"{name}.{3 * layer}"
    for branch, name in enumerate(("field_128", "field_64", "field_32"))
    for layer in range(3)
}
_ARRAY_CLASS: Final = object()
_LINEAR: Final = {9: "head.0", 11: "head.3", 13: "head.6"}


def read_refiner(path: Path, *, y_up: bool) -> Refiner:
    """Read a refiner.

    Args:
        path: the pickle.
        y_up: whether the data set's world is y-up; the answer's y is then negated.

    Raises:
        InvalidModelError: the pickle names other classes, or holds another net.
    """
    content = _load(path)
    refiner = Refiner()
    state = refiner.state_dict()
    for number, name in (_CONVOLUTIONS | _LINEAR).items():
        weight, bias = _layer(content, number, path)
        upright = weight[..., ::-1, ::-1] if number in _CONVOLUTIONS else weight.T
        for kind, array in (("weight", upright), ("bias", bias)):
            target = state[f"{name}.{kind}"]
            if array.shape != tuple(target.shape):
                raise InvalidModelError(
                    f"{path}: layer {number}: expected {kind} of shape {tuple(target.shape)}, "
                    f"found {array.shape}"
                )
            if not np.isfinite(array).all():
                raise InvalidModelError(f"{path}: layer {number}: expected finite weights")
            target.copy_(torch.from_numpy(np.array(array, dtype=np.float32, order="C")))
    if y_up:
        for kind in ("weight", "bias"):
            state[f"head.6.{kind}"][1] *= -1
    return refiner.eval()


def _layer(content: dict[Any, Any], number: int, path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    values = content.get(f"{number}-values")
    if not (
        isinstance(values, list | tuple)
        and len(values) == 2
        and all(isinstance(v, _Array) and v.values.dtype.kind == "f" for v in values)
    ):
        raise InvalidModelError(
            f"{path}: expected [weight, bias] under '{number}-values', found "
            f"{type(values).__name__}"
        )
    return values[0].values, values[1].values


def _load(path: Path) -> dict[Any, Any]:
    size = path.stat().st_size if path.is_file() else 0
    if size > _MAX_BYTES:
        raise InvalidModelError(f"{path}: expected at most {_MAX_BYTES} bytes, found {size}")
    try:
        content = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except (pickle.UnpicklingError, OSError, EOFError, ValueError, TypeError, KeyError,
            IndexError, AttributeError, MemoryError, OverflowError) as error:  # fmt: skip
        raise InvalidModelError(f"{path}: expected a DeepPrior++ pickle, found {error}") from error
    if not isinstance(content, dict):
        raise InvalidModelError(
            f"{path}: expected a dictionary of layers, found {type(content).__name__}"
        )
    return content


class _ArraysOnly(pickle.Unpickler):
    """Knows the names that arrays are pickled with, gives its own stand-ins, and no other."""

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Any] = {
            ("numpy.core.multiarray", "_reconstruct"): _begun_array,
            ("numpy._core.multiarray", "_reconstruct"): _begun_array,
            ("numpy", "ndarray"): _ARRAY_CLASS,
            ("numpy", "dtype"): _NumberType,
            ("_codecs", "encode"): _latin1,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(
                f"{module}.{name}: refused, only arrays, numbers, strings and containers are read"
            )
        return known[module, name]


class _NumberType:
    """A dtype in a pickle: a code such as f4, then its byte order."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not (isinstance(code, str) and code in {"f2", "f4", "f8", "i4", "i8", "u1", "b1"}):
            raise pickle.UnpicklingError(f"an array of {code!r}: refused, only numbers are read")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if state[1] == ">":
            self.dtype = self.dtype.newbyteorder(">")


class _Array:
    """An array in a pickle, read without NumPy's own unpickling."""

    def __init__(self) -> None:
        self.values: NDArray[Any] = np.zeros(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, number_type, is_fortran, raw = state
        if not isinstance(number_type, _NumberType):
            raise pickle.UnpicklingError("an array without a number type: refused")
        content = raw.encode("latin1") if isinstance(raw, str) else raw
        flat = np.frombuffer(content, number_type.dtype)
        self.values = flat.reshape(shape, order="F" if is_fortran else "C")


def _begun_array(kind: Any, *_: Any) -> _Array:
    """Return the array that `__setstate__` is to fill."""
    if kind is not _ARRAY_CLASS:
        raise pickle.UnpicklingError(f"an array of class {kind!r}: refused")
    return _Array()


def _latin1(text: str, encoding: str) -> bytes:
    """Return the bytes that Python 3 pickles as text for older protocols."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"text in {encoding!r}: refused")
    return text.encode("latin1")
