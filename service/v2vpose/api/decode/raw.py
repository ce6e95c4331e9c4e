"""Raw little-endian pixels: the size is declared beside them and must match exactly."""

import numpy as np
from numpy.typing import NDArray

from v2vpose.api.decode.checks import Limits
from v2vpose.errors import InvalidDepthMapError


def decode_raw_u16(body: bytes, *, width: int, height: int, limits: Limits) -> NDArray[np.uint16]:
    """Return (H, W) pixels of row-major 16-bit little-endian integers."""
    _check(body, width, height, 2, limits)
    return np.frombuffer(body, "<u2").reshape(height, width)


def decode_raw_f32(body: bytes, *, width: int, height: int, limits: Limits) -> NDArray[np.float32]:
    """Return (H, W) pixels of row-major 32-bit little-endian floats."""
    _check(body, width, height, 4, limits)
    return np.frombuffer(body, "<f4").reshape(height, width)


def _check(body: bytes, width: int, height: int, pixel_bytes: int, limits: Limits) -> None:
    limits.check_pixels(width, height)
    expected = width * height * pixel_bytes
    if len(body) != expected:
        raise InvalidDepthMapError(
            f"{width} x {height} raw {8 * pixel_bytes}-bit pixels are {expected} bytes, "
            f"found {len(body)}"
        )
