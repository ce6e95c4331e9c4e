"""Depth maps as frames of a stream: a decoder and an encoder for each encoding."""

from enum import StrEnum
from typing import Any, Final

from numpy.typing import NDArray

from v2vpose.api.decode.checks import Limits, depth_mm_from_array
from v2vpose.api.decode.delta import (
    decode_delta_zstd_u16,
    decode_zstd_u16,
    encode_delta_zstd_u16,
    encode_zstd_u16,
)
from v2vpose.api.decode.png import decode_png, encode_png
from v2vpose.api.decode.raw import decode_raw_f32, decode_raw_u16
from v2vpose.api.decode.ros import (
    decode_compressed_depth,
    decode_compressed_depth_metres,
    encode_compressed_depth,
)
from v2vpose.api.decode.rvl import decode_rvl, encode_rvl
from v2vpose.errors import InvalidDepthMapError, InvalidFieldError, UnsupportedEncodingError
from v2vpose.values import DepthArray

_MM_PER_METRE: Final = 1000.0


class Encoding(StrEnum):
    """How the bytes of a frame hold its pixels; the names of the proto's enum."""

    PNG16 = "PNG16"
    RAW_U16_LE = "RAW_U16_LE"
    RAW_F32_LE_METRES = "RAW_F32_LE_METRES"
    ZSTD_U16_LE = "ZSTD_U16_LE"
    DELTA_ZSTD_U16 = "DELTA_ZSTD_U16"
    RVL = "RVL"
    ROS_COMPRESSED_DEPTH_16UC1 = "ROS_COMPRESSED_DEPTH_16UC1"
    ROS_COMPRESSED_DEPTH_32FC1 = "ROS_COMPRESSED_DEPTH_32FC1"


ROS_ALIASES: Final = {
    "16uc1": Encoding.RAW_U16_LE,
    "mono16": Encoding.RAW_U16_LE,
    "32fc1": Encoding.RAW_F32_LE_METRES,
    "16uc1; compresseddepth": Encoding.ROS_COMPRESSED_DEPTH_16UC1,
    "16uc1; compresseddepth png": Encoding.ROS_COMPRESSED_DEPTH_16UC1,
    "16uc1; compresseddepth rvl": Encoding.ROS_COMPRESSED_DEPTH_16UC1,
    "32fc1; compresseddepth": Encoding.ROS_COMPRESSED_DEPTH_32FC1,
    "32fc1; compresseddepth png": Encoding.ROS_COMPRESSED_DEPTH_32FC1,
    "32fc1; compresseddepth rvl": Encoding.ROS_COMPRESSED_DEPTH_32FC1,
}
"""`encoding` of sensor_msgs/Image and `format` of sensor_msgs/CompressedImage, in lower case."""

_SELF_SIZED: Final = {
    Encoding.PNG16,
    Encoding.ROS_COMPRESSED_DEPTH_16UC1,
    Encoding.ROS_COMPRESSED_DEPTH_32FC1,
}
_METRES: Final = {Encoding.RAW_F32_LE_METRES, Encoding.ROS_COMPRESSED_DEPTH_32FC1}


def encoding_from_ros(text: str) -> Encoding:
    """Return the encoding that ROS calls `text`.

    Raises:
        UnsupportedEncodingError: not a depth encoding.
    """
    encoding = ROS_ALIASES.get(" ".join(text.lower().replace(";", "; ").split()))
    if encoding is None:
        raise UnsupportedEncodingError(
            f"expected a ROS depth encoding, one of {', '.join(map(repr, ROS_ALIASES))}, "
            f"found {text!r}"
        )
    return encoding


def decode_frame(
    payload: bytes,
    encoding: Encoding,
    *,
    depth_unit_mm: float,
    limits: Limits,
    width: int | None = None,
    height: int | None = None,
) -> DepthArray:
    """Return (H, W) float32 millimetres.

    Args:
        payload: the frame.
        encoding: how it holds its pixels.
        depth_unit_mm: millimetres of one unit; encodings in metres need no unit and ignore it.
        limits: what is accepted.
        width: columns; needed unless the payload says its size, where it must agree if given.
        height: rows; likewise.

    Raises:
        InvalidDepthMapError: not a depth map.
        InvalidFieldError: width or height missing or contradicted; unit out of range.
        PayloadTooLargeError: over a limit.
    """
    limits.check_bytes(len(payload))
    if not payload:
        raise InvalidDepthMapError("the frame has 0 bytes")
    if encoding in _SELF_SIZED:
        readings = _decode_self_sized(payload, encoding, limits)
        rows, cols = readings.shape
        if width not in {None, cols} or height not in {None, rows}:
            raise InvalidFieldError(
                f"width and height say {width} x {height}, the frame is {cols} x {rows} pixels"
            )
    else:
        if width is None or height is None:
            missing = "width" if width is None else "height"
            raise InvalidFieldError(f"{encoding} needs width and height, {missing} is missing")
        limits.check_pixels(width, height)
        readings = _decode_sized(payload, encoding, limits, width, height)
    return depth_mm_from_array(readings, _MM_PER_METRE if encoding in _METRES else depth_unit_mm)


def encode_frame(pixels: NDArray[Any], encoding: Encoding) -> bytes:
    """Return the payload of (H, W) pixels: uint16 units, or floats for the encoding in metres.

    Raises:
        UnsupportedEncodingError: an encoding we only read.
    """
    if encoding is Encoding.RAW_F32_LE_METRES:
        return pixels.astype("<f4").tobytes()
    if encoding is Encoding.RAW_U16_LE:
        return pixels.astype("<u2").tobytes()
    if encoding is Encoding.ROS_COMPRESSED_DEPTH_16UC1:
        return encode_compressed_depth(pixels, "rvl")
    encoders = {
        Encoding.PNG16: encode_png,
        Encoding.ZSTD_U16_LE: encode_zstd_u16,
        Encoding.DELTA_ZSTD_U16: encode_delta_zstd_u16,
        Encoding.RVL: encode_rvl,
    }
    if encoding not in encoders:
        raise UnsupportedEncodingError(f"{encoding} is read, not written: use RAW_F32_LE_METRES")
    return encoders[encoding](pixels)


def _decode_self_sized(payload: bytes, encoding: Encoding, limits: Limits) -> NDArray[Any]:
    if encoding is Encoding.PNG16:
        return decode_png(payload, limits)
    if encoding is Encoding.ROS_COMPRESSED_DEPTH_16UC1:
        return decode_compressed_depth(payload, limits)
    return decode_compressed_depth_metres(payload, limits)


def _decode_sized(
    payload: bytes, encoding: Encoding, limits: Limits, width: int, height: int
) -> NDArray[Any]:
    if encoding is Encoding.RAW_U16_LE:
        return decode_raw_u16(payload, width=width, height=height, limits=limits)
    if encoding is Encoding.RAW_F32_LE_METRES:
        return decode_raw_f32(payload, width=width, height=height, limits=limits)
    decoder = {
        Encoding.ZSTD_U16_LE: decode_zstd_u16,
        Encoding.DELTA_ZSTD_U16: decode_delta_zstd_u16,
        Encoding.RVL: decode_rvl,
    }[encoding]
    return decoder(payload, width=width, height=height)
