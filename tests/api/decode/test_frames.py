import contextlib
import struct
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from tests.api.decode.makers import COLS, PIXELS, ROWS, png, png_of
from v2vpose.api.decode import (
    ROS_ALIASES,
    Encoding,
    Limits,
    decode_frame,
    encode_frame,
    encoding_from_ros,
)
from v2vpose.api.decode.delta import decode_delta_zstd_u16
from v2vpose.api.decode.ros import encode_compressed_depth
from v2vpose.api.decode.rvl import decode_rvl, encode_rvl
from v2vpose.errors import (
    InvalidDepthMapError,
    InvalidFieldError,
    PayloadTooLargeError,
    PoseError,
    UnsupportedEncodingError,
)
from v2vpose.values import DepthArray

LIMITS = Limits(max_body_bytes=100_000, max_pixels=1000)
U16 = [e for e in Encoding if e not in {Encoding.RAW_F32_LE_METRES, "ROS_COMPRESSED_DEPTH_32FC1"}]
frames_u16 = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda hw: arrays(np.uint16, hw, elements=st.just(0) | st.integers(0, 65535))
)


def decode(payload: bytes, encoding: Encoding, **more: Any) -> DepthArray:
    return decode_frame(payload, encoding, **{"depth_unit_mm": 1.0, "limits": LIMITS, **more})


@pytest.mark.parametrize("encoding", U16)
@given(frames_u16)
def test_every_encoding_gives_back_every_pixel(
    encoding: Encoding, pixels: NDArray[np.uint16]
) -> None:
    height, width = pixels.shape
    payload = encode_frame(pixels, encoding)
    np.testing.assert_array_equal(decode(payload, encoding, width=width, height=height), pixels)


@pytest.mark.parametrize("how", ["png", "rvl"])
@given(frames_u16)
def test_ros_payloads_say_their_own_size(how: Any, pixels: NDArray[np.uint16]) -> None:
    payload = encode_compressed_depth(pixels, how)
    depth_mm = decode(payload, Encoding.ROS_COMPRESSED_DEPTH_16UC1)
    np.testing.assert_array_equal(depth_mm, pixels)


def test_metres_become_millimetres_whatever_the_unit_says() -> None:
    metres = np.array([[0.5, np.nan], [np.inf, 2.0]], np.float32)
    payload = encode_frame(metres, Encoding.RAW_F32_LE_METRES)
    depth_mm = decode(payload, Encoding.RAW_F32_LE_METRES, width=2, height=2, depth_unit_mm=0.125)
    np.testing.assert_array_equal(depth_mm, [[500, 0], [0, 2000]])


def test_ros_inverse_depth_is_metres() -> None:
    header = struct.pack("<iff", 0, 100.0, 2.0)  # metres = 100 / (value - 2)
    payload = header + png(np.array([[0, 102], [52, 2]], np.uint16))
    depth_mm = decode(payload, Encoding.ROS_COMPRESSED_DEPTH_32FC1)
    np.testing.assert_allclose(depth_mm, [[0, 1000], [2000, 0]])


def test_rvl_is_the_published_code_word_for_word() -> None:
    # Two zeros; one reading, 5: delta 5, zigzag 10 = 0b001_010, low group first, top bit = more.
    # Nibbles 2, 1, 1010, 0001, then padding.
    pixels = np.array([[0, 0, 5]], np.uint16)
    assert encode_rvl(pixels) == (0x21A10000).to_bytes(4, "little")


def test_row_deltas_begin_anew_on_every_row() -> None:
    pixels = np.array([[10, 11], [10, 9]], np.uint16)  # deltas 10 1 | 10 -1: zigzag 20 2 20 1
    split = bytes([20, 2, 20, 1, 0, 0, 0, 0])
    payload = zstandard.ZstdCompressor().compress(split)
    np.testing.assert_array_equal(decode_delta_zstd_u16(payload, width=2, height=2), pixels)


@pytest.mark.parametrize(
    ("ros", "encoding"),
    [
        ("16UC1", Encoding.RAW_U16_LE),
        ("32FC1", Encoding.RAW_F32_LE_METRES),
        ("16UC1; compressedDepth png", Encoding.ROS_COMPRESSED_DEPTH_16UC1),
        ("16UC1;compressedDepth  rvl", Encoding.ROS_COMPRESSED_DEPTH_16UC1),
        ("32FC1; compressedDepth", Encoding.ROS_COMPRESSED_DEPTH_32FC1),
    ],
)
def test_ros_strings_are_aliases(ros: str, encoding: Encoding) -> None:
    assert encoding_from_ros(ros) is encoding


def test_a_colour_encoding_of_ros_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnsupportedEncodingError, match=r"'16uc1'.*found 'bgr8'"):
        encoding_from_ros("bgr8")
    assert all(alias == alias.lower() for alias in ROS_ALIASES)


def test_inverse_depth_is_read_but_not_written() -> None:
    with pytest.raises(UnsupportedEncodingError, match="use RAW_F32_LE_METRES"):
        encode_frame(PIXELS, Encoding.ROS_COMPRESSED_DEPTH_32FC1)


SIZE = {"width": COLS, "height": ROWS}
BOMB = zstandard.ZstdCompressor().compress(bytes(50_000_000))
UNSIZED_BOMB = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(50_000_000))
HUGE_RVL = struct.pack("<iffii", 0, 0, 0, 2**31 - 1, 2**31 - 1) + bytes(8)
REFUSED: list[tuple[bytes, Encoding, dict[str, int], type[PoseError], str]] = [
    (b"", Encoding.PNG16, {}, InvalidDepthMapError, "0 bytes"),
    (bytes(100_001), Encoding.PNG16, {}, PayloadTooLargeError, "more than 100000 bytes"),
    (png(), Encoding.PNG16, {"width": 9, "height": ROWS}, InvalidFieldError, "the frame is 5 x 6"),
    (png_of(9999, 9999), Encoding.PNG16, {}, PayloadTooLargeError, "9999 x 9999"),
    (bytes(60), Encoding.RAW_U16_LE, {"width": 5}, InvalidFieldError, "height is missing"),
    (bytes(61), Encoding.RAW_U16_LE, SIZE, InvalidDepthMapError, "are 60 bytes, found 61"),
    (bytes(60), Encoding.RAW_F32_LE_METRES, SIZE, InvalidDepthMapError, "are 120 bytes, found 60"),
    (bytes(8), Encoding.RVL, {"width": 90, "height": 90}, PayloadTooLargeError, "8100 pixels"),
    (BOMB, Encoding.ZSTD_U16_LE, SIZE, InvalidDepthMapError, "declares 50000000 bytes.*need 60"),
    (BOMB, Encoding.DELTA_ZSTD_U16, SIZE, InvalidDepthMapError, "declares 50000000 bytes"),
    (UNSIZED_BOMB, Encoding.ZSTD_U16_LE, SIZE, InvalidDepthMapError, "truncated or corrupt"),
    (b"nonsense", Encoding.ZSTD_U16_LE, SIZE, InvalidDepthMapError, "truncated or corrupt"),
    (bytes(9), Encoding.RVL, SIZE, InvalidDepthMapError, "words of 4 bytes, found 9"),
    (bytes(4), Encoding.RVL, SIZE, InvalidDepthMapError, "a run of no pixels"),
    (encode_rvl(PIXELS)[:-4], Encoding.RVL, SIZE, InvalidDepthMapError, "the input ends"),
    (encode_rvl(PIXELS) + bytes(4), Encoding.RVL, SIZE, InvalidDepthMapError, "RVL frame of 5 x 6"),
    (b"\xff\xff\xff\xff" * 4, Encoding.RVL, SIZE, InvalidDepthMapError, "more than 32 bits"),
    (b"\x00\x00\x00\xf7", Encoding.RVL, SIZE, InvalidDepthMapError, "past the last pixel"),
    (bytes(12), Encoding.ROS_COMPRESSED_DEPTH_16UC1, {}, InvalidDepthMapError, "headers need 20"),
    (HUGE_RVL, Encoding.ROS_COMPRESSED_DEPTH_16UC1, {}, PayloadTooLargeError, "2147483647 x"),
]  # fmt: skip


@pytest.mark.parametrize(("payload", "encoding", "more", "error", "text"), REFUSED)
def test_each_broken_frame_is_refused_with_what_was_found(
    payload: bytes,
    encoding: Encoding,
    more: dict[str, int],
    error: type[PoseError],
    text: str,
) -> None:
    with pytest.raises(error, match=text):
        decode(payload, encoding, **more)


@given(
    st.sampled_from(list(Encoding)),
    st.binary(max_size=200),
    st.integers(-2, 40),
    st.integers(-2, 40),
)
def test_random_frames_raise_nothing_but_our_errors(
    encoding: Encoding, payload: bytes, width: int, height: int
) -> None:
    with contextlib.suppress(PoseError):
        depth_mm = decode(payload, encoding, width=width, height=height)
        assert np.isfinite(depth_mm).all()


@given(st.lists(st.integers(0, 2**32 - 1), max_size=30), st.integers(1, 9), st.integers(1, 9))
def test_random_words_never_write_outside_the_frame(
    words: list[int], width: int, height: int
) -> None:
    payload = np.array(words, np.uint32).tobytes()
    try:
        pixels = decode_rvl(payload, width=width, height=height)
    except InvalidDepthMapError:
        return
    assert pixels.shape == (height, width)
