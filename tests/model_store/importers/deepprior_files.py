"""Pickles as Python 2's cPickle (protocol 2) writes them for DeepPrior++, made opcode by opcode."""

import struct
from typing import Any

import numpy as np

# (filters, channels, rows, cols) of the nine convolutions; (in, out) of the three linear layers
CONVOLUTIONS: list[tuple[int, ...]] = [(8, 1, 5, 5), (8, 8, 5, 5), (8, 8, 3, 3)] * 3
LINEAR: dict[int, tuple[int, ...]] = {9: (2448, 1024), 11: (1024, 1024), 13: (1024, 3)}


def refiner_layers(seed: int = 0) -> dict[str, Any]:
    """Random layers under DeepPrior++'s names."""
    rng = np.random.default_rng(seed)
    shapes: dict[int, tuple[int, ...]] = dict(enumerate(CONVOLUTIONS)) | LINEAR
    layers: dict[str, Any] = {"class": "ScaleNet", "network": "type 1", "12-values": []}
    for number, shape in shapes.items():
        fan_in = int(np.prod(shape[1:])) if number < 9 else shape[0]
        weight = rng.normal(0, fan_in**-0.5, shape).astype(np.float32)
        out = shape[0] if number < 9 else shape[1]
        layers[f"{number}-values"] = [weight, rng.normal(0, 0.1, out).astype(np.float32)]
    layers["10-values"] = []
    return layers


def python2_pickle(value: Any) -> bytes:
    """Protocol 2 with 8-bit strings, as Python 2 has them."""
    return b"\x80\x02" + _opcodes(value) + b"."


def _opcodes(value: Any) -> bytes:
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, str):
        return _bytes(value.encode("latin-1"))
    if isinstance(value, bytes):
        return _bytes(value)
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_opcodes, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(_opcodes, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(_opcodes(k) + _opcodes(v) for k, v in value.items()) + b"u"
    return _array(value)


def _array(value: np.ndarray) -> bytes:
    begun = b"cnumpy.core.multiarray\n_reconstruct\n" + b"(cnumpy\nndarray\n(K\x00tU\x01btR"
    dtype = b"cnumpy\ndtype\n" + _opcodes((value.dtype.str[1:], 0, 1)) + b"R"
    dtype += _opcodes((3, "<", None, None, None, -1, -1, 0)) + b"b"
    is_fortran = value.flags.f_contiguous and not value.flags.c_contiguous
    raw = value.tobytes(order="F" if is_fortran else "C")
    state = b"(" + _opcodes(1) + _opcodes(value.shape) + dtype
    return begun + state + _opcodes(bool(is_fortran)) + _opcodes(raw) + b"tb"


def _bytes(content: bytes) -> bytes:
    if len(content) < 256:
        return b"U" + bytes([len(content)]) + content
    return b"T" + struct.pack("<i", len(content)) + content
