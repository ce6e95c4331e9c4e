"""Payloads of ROS `compressedDepth` (sensor_msgs/CompressedImage): 12 bytes, then PNG or RVL.

The 12 bytes are int32 format and float32 A, B, little-endian. 16UC1 holds millimetres as they are.
32FC1 holds inverse depth in 16 bits: metres = A / (value - B), 0 = no reading. RVL adds int32
columns and rows.
"""

import struct
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from v2vpose.api.decode.checks import Limits
from v2vpose.api.decode.png import SIGNATURE, decode_png, encode_png
from v2vpose.api.decode.rvl import decode_rvl, encode_rvl
from v2vpose.errors import InvalidDepthMapError

_CONFIG: Final = struct.Struct("<iff")
_SIZE: Final = struct.Struct("<ii")


def decode_compressed_depth(payload: bytes, limits: Limits) -> NDArray[np.uint16]:
    """Return the (H, W) 16UC1 pixels of a PNG or RVL payload.

    Raises:
        InvalidDepthMapError: truncated or corrupt.
        PayloadTooLargeError: the header declares more pixels than the limit.
    """
    return _pixels(payload, limits)[0]


def decode_compressed_depth_metres(payload: bytes, limits: Limits) -> NDArray[Any]:
    """Return the (H, W) 32FC1 metres of a PNG or RVL payload; NaN = no reading.

    Raises:
        InvalidDepthMapError: truncated or corrupt.
        PayloadTooLargeError: the header declares more pixels than the limit.
    """
    pixels, a, b = _pixels(payload, limits)
    with np.errstate(all="ignore"):  # senseless A and B: what is not finite is no reading
        metres = np.float64(a) / (pixels.astype(np.float64) - b)
    return np.where(pixels > 0, metres, np.nan)


def encode_compressed_depth(pixels: NDArray[np.uint16], how: Literal["png", "rvl"]) -> bytes:
    """Return the payload of (H, W) 16UC1 pixels."""
    header = _CONFIG.pack(0, 0.0, 0.0)
    if how == "png":
        return header + encode_png(pixels)
    rows, cols = pixels.shape
    return header + _SIZE.pack(cols, rows) + encode_rvl(pixels)


def _pixels(payload: bytes, limits: Limits) -> tuple[NDArray[np.uint16], float, float]:
    if len(payload) < _CONFIG.size + _SIZE.size:
        raise InvalidDepthMapError(
            f"the compressedDepth payload is truncated: {len(payload)} bytes, "
            f"its headers need {_CONFIG.size + _SIZE.size}"
        )
    _, a, b = _CONFIG.unpack_from(payload)
    rest = payload[_CONFIG.size :]
    if rest.startswith(SIGNATURE):
        return decode_png(rest, limits), a, b
    cols, rows = _SIZE.unpack_from(rest)
    limits.check_pixels(cols, rows)
    return decode_rvl(rest[_SIZE.size :], width=cols, height=rows), a, b
