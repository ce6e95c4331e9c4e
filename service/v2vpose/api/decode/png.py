"""16-bit greyscale PNG. Structure, size and checksums are checked by hand before inflating."""

import struct
import zlib
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from v2vpose.api.decode.checks import Limits
from v2vpose.errors import InvalidDepthMapError

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_IHDR: Final = struct.Struct(">IIBBBBB")
_COLOURS: Final = {0: "greyscale", 2: "RGB", 3: "palette", 4: "greyscale + alpha", 6: "RGB + alpha"}
_NEEDED: Final = (b"IHDR", b"IDAT", b"IEND")


def decode_png(body: bytes, limits: Limits) -> NDArray[np.uint16]:
    """Return the (H, W) pixels.

    Raises:
        InvalidDepthMapError: not a PNG, not 16-bit greyscale, truncated or corrupt.
        PayloadTooLargeError: the header declares more pixels than the limit.
    """
    if not body.startswith(SIGNATURE):
        raise InvalidDepthMapError(f"expected a PNG file, found first bytes {body[:8].hex(' ')}")
    if len(body) < 33:
        raise InvalidDepthMapError(f"the PNG is truncated: {len(body)} bytes, its header needs 33")
    if body[12:16] != b"IHDR" or int.from_bytes(body[8:12], "big") != _IHDR.size:
        raise InvalidDepthMapError(f"the PNG must begin with IHDR, found {body[12:16]!r}")
    width, height, bits, colour, *_ = _IHDR.unpack_from(body, 16)
    if (bits, colour) != (16, 0):
        raise InvalidDepthMapError(
            f"expected a 16-bit greyscale PNG, found {bits}-bit {_COLOURS.get(colour, colour)}"
        )
    limits.check_pixels(width, height)
    image = cv2.imdecode(np.frombuffer(_pixels_only(body), np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise InvalidDepthMapError("the PNG is corrupt: its pixels cannot be inflated")
    if image.shape != (height, width) or image.dtype != np.uint16:
        raise InvalidDepthMapError(
            f"expected {width} x {height} 16-bit pixels in the PNG, "
            f"found {image.dtype} of shape {image.shape}"
        )
    return image.astype(np.uint16, copy=False)


def encode_png(pixels: NDArray[np.uint16]) -> bytes:
    """Return a 16-bit greyscale PNG of (H, W) pixels."""
    _, encoded = cv2.imencode(".png", pixels)
    return encoded.tobytes()


def _pixels_only(body: bytes) -> bytes:
    """Check every chunk's length and checksum; leave out chunks that are no pixels."""
    kept: list[bytes] = []
    at, whole, size = len(SIGNATURE), True, len(body)
    while True:
        end = at + 12 + int.from_bytes(body[at : at + 4], "big")
        if at + 8 > size or end > size:
            raise InvalidDepthMapError(
                f"the PNG is truncated: it ends after {size} bytes, before its end mark"
            )
        kind = body[at + 4 : at + 8]
        if zlib.crc32(memoryview(body)[at + 4 : end - 4]) != int.from_bytes(
            body[end - 4 : end], "big"
        ):
            raise InvalidDepthMapError(f"the PNG is corrupt: wrong checksum of its {kind!r} chunk")
        if kind in _NEEDED:
            kept.append(body[at:end])
        else:
            whole = False
        at = end
        if kind == b"IEND":
            return body[:end] if whole else SIGNATURE + b"".join(kept)
