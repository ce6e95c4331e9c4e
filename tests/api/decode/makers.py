"""Files of depth maps, and broken ones."""

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROWS, COLS = 6, 5
PIXELS = (np.arange(ROWS * COLS, dtype=np.uint16) * 137 + 400).reshape(ROWS, COLS)


def png(pixels: NDArray[Any] = PIXELS) -> bytes:
    encoded = cv2.imencode(".png", pixels)[1]
    return bytes(encoded.tobytes())


def tiff(pixels: NDArray[Any] = PIXELS) -> bytes:
    encoded = cv2.imencode(".tiff", pixels)[1]
    return bytes(encoded.tobytes())


def npy(array: NDArray[Any] = PIXELS) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def png_of(
    width: int,
    height: int,
    *,
    bits: int = 16,
    colour: int = 0,
    idat: bytes = b"",
    more: bytes = b"",
) -> bytes:
    """A PNG written by hand, so that its header may promise anything."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + more
        + chunk(b"IDAT", idat)
        + chunk(b"IEND", b"")
    )


def deflated(pixels: NDArray[np.uint16] = PIXELS) -> bytes:
    return zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels))
