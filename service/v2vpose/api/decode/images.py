"""Depth maps as files: the body of a request, by its media type."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from v2vpose.api.decode.checks import Limits, depth_mm_from_array
from v2vpose.api.decode.npy import decode_npy
from v2vpose.api.decode.png import decode_png
from v2vpose.api.decode.raw import decode_raw_u16
from v2vpose.api.decode.tiff import decode_tiff
from v2vpose.errors import InvalidDepthMapError, InvalidFieldError, UnsupportedEncodingError
from v2vpose.values import DepthArray

PNG: Final = "image/png"
NPY: Final = "application/x-npy"
TIFF: Final = "image/tiff"
RAW: Final = "application/octet-stream"
MEDIA_TYPES: Final = (PNG, NPY, TIFF, RAW)

_MAGIC: Final = {
    b"\x89PNG\r\n\x1a\n": PNG,
    b"\x93NUMPY": NPY,
    b"II*\x00": TIFF,
    b"MM\x00*": TIFF,
}
_FOREIGN_MAGIC: Final = {
    b"\xff\xd8\xff": "a JPEG (lossy 8-bit images hold no depth)",
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"PK\x03\x04": "a ZIP (or .npz) archive",
    b"v/1\x01": "an OpenEXR image",
    b"\x1f\x8b": "a gzip file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"II+\x00": "a BigTIFF",
    b"MM\x00+": "a BigTIFF",
}


def decode_image(
    body: bytes,
    media_type: str | None,
    *,
    depth_unit_mm: float,
    limits: Limits,
    width: int | None = None,
    height: int | None = None,
) -> DepthArray:
    """Return (H, W) float32 millimetres.

    Args:
        body: the file.
        media_type: as the caller declared it. Octets without width and height, and no type at all,
            go by the file's first bytes.
        depth_unit_mm: millimetres of one unit of the file.
        limits: what is accepted.
        width: columns of raw pixels; only for `application/octet-stream`.
        height: rows of raw pixels; only for `application/octet-stream`.

    Raises:
        UnsupportedEncodingError: not a media type we read.
        InvalidDepthMapError: not a depth map.
        InvalidFieldError: width or height missing or out of place; unit out of range.
        PayloadTooLargeError: over a limit.
    """
    limits.check_bytes(len(body))
    if not body:
        raise InvalidDepthMapError("the depth map has 0 bytes")
    kind = (media_type or "").partition(";")[0].strip().lower()
    if kind in {"", RAW} and width is None and height is None:
        kind = _by_magic(body)
    if kind not in MEDIA_TYPES:
        raise UnsupportedEncodingError(
            f"expected a depth map as one of {', '.join(MEDIA_TYPES)}, found {media_type}"
        )
    if kind != RAW and not (width is None and height is None):
        raise InvalidFieldError(f"width and height are for {RAW} only; {kind} says its own size")
    return depth_mm_from_array(_readings(body, kind, limits, width, height), depth_unit_mm)


def _readings(
    body: bytes, kind: str, limits: Limits, width: int | None, height: int | None
) -> NDArray[Any]:
    if kind == RAW:
        if width is None or height is None:
            missing = "width" if width is None else "height"
            raise InvalidFieldError(f"{RAW} needs width and height, {missing} is missing")
        return decode_raw_u16(body, width=width, height=height, limits=limits)
    found = next((name for magic, name in _FOREIGN_MAGIC.items() if body.startswith(magic)), None)
    if found:
        raise InvalidDepthMapError(f"expected {kind}, found {found}")
    decoder = {PNG: decode_png, NPY: decode_npy, TIFF: decode_tiff}[kind]
    readings: NDArray[np.generic] = decoder(body, limits)
    return readings


def _by_magic(body: bytes) -> str:
    for magic, kind in _MAGIC.items():
        if body.startswith(magic):
            return kind
    found = next((name for magic, name in _FOREIGN_MAGIC.items() if body.startswith(magic)), None)
    if found:
        raise InvalidDepthMapError(f"expected one of {', '.join(MEDIA_TYPES)}, found {found}")
    raise InvalidFieldError(
        "the body is neither PNG, NPY nor TIFF by its first bytes; "
        f"raw 16-bit pixels ({RAW}) need width and height"
    )
