"""zstd-compressed pixels, plain or as row deltas. The inflated size is known before inflating.

`DELTA_ZSTD_U16`: each pixel minus its left neighbour (the first of a row minus 0), zigzag (small
numbers of either sign become small unsigned ones), all low bytes and then all high bytes, zstd
level 1. Lossless; smaller than PNG, about nine times faster to write and six to read.
"""

import numpy as np
import zstandard
from numpy.typing import NDArray

from v2vpose.errors import InvalidDepthMapError

_LEVEL = 1
_MAX_WINDOW_BYTES = 2**27


def decode_zstd_u16(payload: bytes, *, width: int, height: int) -> NDArray[np.uint16]:
    """Return (H, W) pixels. The caller has checked that width x height is within limits.

    Raises:
        InvalidDepthMapError: not zstd, or not exactly that many pixels.
    """
    return np.frombuffer(_inflate(payload, 2 * width * height), "<u2").reshape(height, width)


def encode_zstd_u16(pixels: NDArray[np.uint16]) -> bytes:
    """Return the zstd frame of (H, W) pixels."""
    return zstandard.ZstdCompressor(level=_LEVEL).compress(pixels.astype("<u2").tobytes())


def decode_delta_zstd_u16(payload: bytes, *, width: int, height: int) -> NDArray[np.uint16]:
    """Return (H, W) pixels. The caller has checked that width x height is within limits.

    Raises:
        InvalidDepthMapError: not zstd, or not exactly that many pixels.
    """
    count = width * height
    split = np.frombuffer(_inflate(payload, 2 * count), np.uint8)
    zigzag = split[:count] | (split[count:].astype(np.uint16) << 8)
    delta = (zigzag >> 1) ^ (0 - (zigzag & 1))  # modulo 2^16
    return np.cumsum(delta.reshape(height, width), axis=1, dtype=np.uint16)


def encode_delta_zstd_u16(pixels: NDArray[np.uint16]) -> bytes:
    """Return the delta zstd frame of (H, W) pixels."""
    delta = np.diff(pixels, axis=1, prepend=np.uint16(0)).view(np.int16)  # modulo 2^16
    zigzag = ((delta << 1) ^ (delta >> 15)).view(np.uint16)
    split = np.stack([(zigzag & 0xFF).astype(np.uint8), (zigzag >> 8).astype(np.uint8)])
    return zstandard.ZstdCompressor(level=_LEVEL).compress(split.tobytes())


def _inflate(payload: bytes, size: int) -> bytes:
    try:
        declared = zstandard.get_frame_parameters(payload).content_size
        if declared not in {size, zstandard.CONTENTSIZE_UNKNOWN}:
            raise InvalidDepthMapError(
                f"the zstd frame declares {declared} bytes, width and height need {size}"
            )
        inflated = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).decompress(
            payload, max_output_size=size, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise InvalidDepthMapError(f"the zstd frame is truncated or corrupt: {error}") from error
    if len(inflated) != size:
        raise InvalidDepthMapError(
            f"the zstd frame holds {len(inflated)} bytes, width and height need {size}"
        )
    return inflated
