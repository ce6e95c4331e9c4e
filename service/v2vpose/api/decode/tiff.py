"""Greyscale TIFF, 16-bit integer or 32-bit float, one page in strips; tags are checked first."""

import struct
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from v2vpose.api.decode.checks import Limits
from v2vpose.errors import InvalidDepthMapError

_TYPES: Final = {1: "B", 3: "H", 4: "I"}  # byte, short, long: all that the tags below may be
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _STRIP_BYTES, _TILE_WIDTH, _FORMAT = 273, 277, 279, 322, 339
_COMPRESSIONS: Final = {1: "none", 5: "LZW", 8: "deflate", 32946: "deflate", 32773: "packbits"}
_KINDS: Final[dict[tuple[int, int], type[np.generic]]] = {(16, 1): np.uint16, (32, 3): np.float32}
_FORMATS: Final = {1: "unsigned", 2: "signed", 3: "float"}
_MAX_TAGS: Final = 200

Tags = dict[int, list[int]]


def decode_tiff(body: bytes, limits: Limits) -> NDArray[Any]:
    """Return the (H, W) pixels.

    Raises:
        InvalidDepthMapError: not a TIFF, not of a kind above, more pages than one, corrupt.
        PayloadTooLargeError: the header declares more pixels than the limit.
    """
    try:
        tags, next_page = _first_page(body)
    except (struct.error, KeyError) as error:
        raise InvalidDepthMapError(
            "the TIFF is truncated or corrupt: its tags end early"
        ) from error
    width, height = _one(tags, _WIDTH), _one(tags, _HEIGHT)
    dtype = _check_kind(tags)
    limits.check_pixels(width, height)
    if next_page:
        raise InvalidDepthMapError("expected one page in the TIFF, found more")
    _check_strips(tags, body)
    image = _imdecode(body)
    if image is None:
        raise InvalidDepthMapError("the TIFF is corrupt: its pixels cannot be decoded")
    if image.shape != (height, width) or image.dtype != dtype:
        raise InvalidDepthMapError(
            f"expected {width} x {height} {np.dtype(dtype)} pixels in the TIFF, "
            f"found {image.dtype} of shape {image.shape}"
        )
    return image


def _imdecode(body: bytes) -> NDArray[Any] | None:
    try:
        return cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None


def _first_page(body: bytes) -> tuple[Tags, int]:
    order = {b"II": "<", b"MM": ">"}.get(body[:2])
    if order is None or struct.unpack_from(order + "H", body, 2) != (42,):
        raise InvalidDepthMapError(f"expected a TIFF file, found first bytes {body[:4].hex(' ')}")
    (at,) = struct.unpack_from(order + "I", body, 4)
    (count,) = struct.unpack_from(order + "H", body, at)
    if count > _MAX_TAGS:
        raise InvalidDepthMapError(f"expected at most {_MAX_TAGS} tags in the TIFF, found {count}")
    tags: Tags = {}
    for i in range(count):
        entry = at + 2 + 12 * i
        tag, kind, length = struct.unpack_from(order + "HHI", body, entry)
        if kind in _TYPES and length * struct.calcsize(_TYPES[kind]) <= len(body):
            values = f"{order}{length}{_TYPES[kind]}"
            inline = struct.calcsize(values) <= 4
            where = entry + 8 if inline else struct.unpack_from(order + "I", body, entry + 8)[0]
            tags[tag] = list(struct.unpack_from(values, body, where))
    (next_page,) = struct.unpack_from(order + "I", body, at + 2 + 12 * count)
    return tags, next_page


def _one(tags: Tags, tag: int, default: int | None = None) -> int:
    values = tags.get(tag, [] if default is None else [default])
    if len(values) != 1:
        raise InvalidDepthMapError(f"expected one value of TIFF tag {tag}, found {len(values)}")
    return values[0]


def _check_kind(tags: Tags) -> type[np.generic]:
    samples = _one(tags, _SAMPLES, 1)
    bits, fmt = (tags.get(tag, [1])[0] if tags.get(tag, [1]) else 0 for tag in (_BITS, _FORMAT))
    if samples != 1 or _one(tags, _PHOTOMETRIC, 1) not in {0, 1} or (bits, fmt) not in _KINDS:
        raise InvalidDepthMapError(
            "expected one 16-bit unsigned or 32-bit float channel in the TIFF, "
            f"found {samples} of {bits}-bit {_FORMATS.get(fmt, fmt)}"
        )
    compression = _one(tags, _COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        known = ", ".join(sorted(set(_COMPRESSIONS.values())))
        raise InvalidDepthMapError(
            f"expected TIFF compression {known}, found compression {compression}"
        )
    if _TILE_WIDTH in tags:
        raise InvalidDepthMapError("expected a TIFF in strips, found tiles")
    return _KINDS[bits, fmt]


def _check_strips(tags: Tags, body: bytes) -> None:
    offsets, sizes = tags.get(_STRIP_OFFSETS, []), tags.get(_STRIP_BYTES, [])
    if not offsets or len(offsets) != len(sizes):
        raise InvalidDepthMapError(
            f"the TIFF is corrupt: {len(offsets)} strips, {len(sizes)} strip sizes"
        )
    if any(offset + size > len(body) for offset, size in zip(offsets, sizes, strict=True)):
        raise InvalidDepthMapError("the TIFF is truncated: its strips end after the file does")
