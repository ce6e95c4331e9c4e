import contextlib
import io
import pickle
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.api.decode.makers import COLS, PIXELS, ROWS, chunk, deflated, npy, png, png_of, tiff
from v2vpose.api.decode import MEDIA_TYPES, Limits, decode_image
from v2vpose.errors import (
    InvalidDepthMapError,
    InvalidFieldError,
    PayloadTooLargeError,
    PoseError,
    UnsupportedEncodingError,
)
from v2vpose.values import DepthArray

PNG, NPY, TIFF, RAW = MEDIA_TYPES
LIMITS = Limits(max_body_bytes=10_000, max_pixels=1000)


def decode(body: bytes, media_type: str | None, **more: Any) -> DepthArray:
    return decode_image(body, media_type, **{"depth_unit_mm": 1.0, "limits": LIMITS, **more})


@pytest.mark.parametrize(
    ("body", "media_type", "more"),
    [
        (png(), PNG, {}),
        (png(), "IMAGE/PNG; charset=x", {}),
        (png(), None, {}),
        (npy(), NPY, {}),
        (npy(), RAW, {}),
        (npy(np.asfortranarray(PIXELS)), NPY, {}),
        (npy(PIXELS.astype(">u2")), NPY, {}),
        (npy(PIXELS.astype(np.float32)), NPY, {}),
        (npy(PIXELS.astype(np.float64)), NPY, {}),
        (tiff(), TIFF, {}),
        (tiff(PIXELS.astype(np.float32)), TIFF, {}),
        (PIXELS.astype("<u2").tobytes(), RAW, {"width": COLS, "height": ROWS}),
    ],
)
def test_every_media_type_gives_the_same_millimetres(
    body: bytes, media_type: str | None, more: dict[str, int]
) -> None:
    depth_mm = decode(body, media_type, depth_unit_mm=0.125, **more)
    assert depth_mm.dtype == np.float32
    np.testing.assert_array_equal(depth_mm, PIXELS * np.float32(0.125))


def test_the_unit_defaults_to_nothing_and_scales_floats_too() -> None:
    metres = PIXELS.astype(np.float64) / 1000
    np.testing.assert_allclose(decode(npy(metres), NPY, depth_unit_mm=1000.0), PIXELS, rtol=1e-6)


def test_nan_and_infinity_mean_no_reading() -> None:
    array = np.array([[np.nan, np.inf], [-np.inf, 700.0]], np.float32)
    np.testing.assert_array_equal(decode(npy(array), NPY), [[0, 0], [0, 700]])


@pytest.mark.parametrize("unit_mm", [0.0, -1.0, float("nan"), float("inf"), 1001.0])
def test_a_senseless_unit_is_refused(unit_mm: float) -> None:
    with pytest.raises(InvalidFieldError, match=r"depth_unit_mm must be > 0 and <= 1000, got"):
        decode(png(), PNG, depth_unit_mm=unit_mm)


def test_a_unit_that_puts_readings_a_kilometre_away_is_refused() -> None:
    with pytest.raises(InvalidDepthMapError, match=r"<= 1e\+06 mm, found .* check depth_unit_mm"):
        decode(png(), PNG, depth_unit_mm=1000.0)


REFUSED: list[tuple[bytes, str | None, dict[str, int], type[PoseError], str]] = [
    (png(PIXELS.astype(np.uint8)), PNG, {}, InvalidDepthMapError,
     "expected a 16-bit greyscale PNG, found 8-bit greyscale"),
    (png(np.zeros((4, 4, 3), np.uint8)), PNG, {}, InvalidDepthMapError, "found 8-bit RGB"),
    (png(np.zeros((4, 4, 3), np.uint16)), PNG, {}, InvalidDepthMapError, "found 16-bit RGB"),
    (png(np.zeros((4, 4, 4), np.uint8)), PNG, {}, InvalidDepthMapError, r"8-bit RGB \+ alpha"),
    (png()[:-1], PNG, {}, InvalidDepthMapError, "PNG is truncated: it ends after"),
    (png()[:50], PNG, {}, InvalidDepthMapError, "PNG is truncated: it ends after 50 bytes"),
    (png()[:20], PNG, {}, InvalidDepthMapError, "PNG is truncated: 20 bytes, its header needs 33"),
    (png()[:45] + b"!" + png()[46:], PNG, {}, InvalidDepthMapError, "wrong checksum"),
    (png_of(COLS, ROWS, idat=deflated()[:20]), PNG, {}, InvalidDepthMapError, "cannot be inflated"),
    (png_of(60_000, 60_000, idat=deflated()), PNG, {}, PayloadTooLargeError,
     "declares 60000 x 60000 = 3600000000 pixels, at most 1000"),
    (png_of(0, 6, idat=deflated()), PNG, {}, InvalidDepthMapError, ">= 1 px, found 0 x 6"),
    (b"\x89PNG\r\n\x1a\n" + chunk(b"gAMA", bytes(13)) + bytes(20), PNG, {}, InvalidDepthMapError,
     "must begin with IHDR"),
    (b"\xff\xd8\xff\xe0" + bytes(40), PNG, {}, InvalidDepthMapError, "image/png, found a JPEG"),
    (npy(), PNG, {}, InvalidDepthMapError, "expected a PNG file, found first bytes 93 4e 55"),
    (npy(PIXELS.astype(np.int32)), NPY, {}, InvalidDepthMapError, "in the .npy, found int32"),
    (npy(PIXELS[0]), NPY, {}, InvalidDepthMapError, r"expected \(rows, cols\)"),
    (npy()[:-1], NPY, {}, InvalidDepthMapError, "truncated: expected 60 bytes of uint16"),
    (npy() + b"x", NPY, {}, InvalidDepthMapError, "too long: expected 60 bytes"),
    (npy()[:40], NPY, {}, InvalidDepthMapError, "header cannot be read"),
    (npy(np.array([[-5.0, 2]])), NPY, {}, InvalidDepthMapError, "must be >= 0, found -5 mm"),
    (npy(np.array([[1e300, 2]])), NPY, {}, InvalidDepthMapError, r"<= 1e\+06 mm, found inf"),
    (npy(np.zeros((0, 4), np.uint16)), NPY, {}, InvalidDepthMapError, "found 4 x 0"),
    (npy(np.zeros((40, 40), np.uint16)), NPY, {}, PayloadTooLargeError, "40 x 40 = 1600 pixels"),
    (tiff(PIXELS.astype(np.uint8)), TIFF, {}, InvalidDepthMapError, "found 1 of 8-bit unsigned"),
    (tiff(np.zeros((4, 4, 3), np.uint16)), TIFF, {}, InvalidDepthMapError, "found 3 of 16-bit"),
    (tiff(np.zeros((40, 40), np.uint16)), TIFF, {}, PayloadTooLargeError, "40 x 40 = 1600 pixels"),
    (tiff()[:30], TIFF, {}, InvalidDepthMapError, "TIFF is truncated"),
    (b"II+\0" + bytes(40), TIFF, {}, InvalidDepthMapError, "found a BigTIFF"),
    (png(), TIFF, {}, InvalidDepthMapError, "expected a TIFF file, found first bytes 89 50 4e 47"),
    (bytes(59), RAW, {"width": 5, "height": 6}, InvalidDepthMapError, "are 60 bytes, found 59"),
    (bytes(60), RAW, {"width": 5}, InvalidFieldError, "needs width and height, height is missing"),
    (bytes(60), RAW, {}, InvalidFieldError, "need width and height"),
    (bytes(60), RAW, {"width": 5000, "height": 6}, PayloadTooLargeError, "at most 1000"),
    (png(), PNG, {"width": 5, "height": 6}, InvalidFieldError, "says its own size"),
    (b"", PNG, {}, InvalidDepthMapError, "0 bytes"),
    (bytes(10_001), RAW, {}, PayloadTooLargeError, "more than 10000 bytes"),
    (png(), "image/jpeg", {}, UnsupportedEncodingError, "image/tiff.*found image/jpeg"),
    (b"PK\x03\x04", None, {}, InvalidDepthMapError, r"found a ZIP \(or .npz\) archive"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "media_type", "more", "error", "text"), REFUSED)
def test_each_broken_file_is_refused_with_what_was_found(
    body: bytes,
    media_type: str | None,
    more: dict[str, int],
    error: type[PoseError],
    text: str,
) -> None:
    with pytest.raises(error, match=text):
        decode(body, media_type, **more)


def test_a_bomb_is_refused_by_its_header_before_anything_is_inflated() -> None:
    bomb = png_of(50_000, 50_000, idat=b"not even deflate")
    with pytest.raises(PayloadTooLargeError, match="50000 x 50000"):
        decode(bomb, PNG)


def test_chunks_that_are_no_pixels_change_nothing() -> None:
    transparent = png_of(COLS, ROWS, idat=deflated(), more=chunk(b"tRNS", b"\x01\x90"))
    np.testing.assert_array_equal(decode(transparent, PNG), PIXELS)


def test_a_tiff_of_two_pages_is_refused() -> None:
    body = bytearray(tiff())
    (at,) = struct.unpack_from("<I", body, 4)
    (count,) = struct.unpack_from("<H", body, at)
    struct.pack_into("<I", body, at + 2 + 12 * count, 8)
    with pytest.raises(InvalidDepthMapError, match="expected one page"):
        decode(bytes(body), TIFF)


def test_a_tiff_whose_pixels_end_after_the_file_does_is_refused() -> None:
    body = bytearray(tiff())
    (at,) = struct.unpack_from("<I", body, 4)
    (count,) = struct.unpack_from("<H", body, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from("<HH", body, entry)
        if tag == 279:  # bytes of each strip
            struct.pack_into({3: "<H", 4: "<I"}[kind], body, entry + 8, 60_000)
    with pytest.raises(InvalidDepthMapError, match="its strips end after the file does"):
        decode(bytes(body), TIFF)


def test_a_pickle_in_an_npy_is_never_loaded() -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("the pickle ran",))

    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|O", "fortran_order": False, "shape": (1, 1)}
    )
    with pytest.raises(InvalidDepthMapError, match="found object"):
        decode(file.getvalue() + pickle.dumps(Trap()), NPY)


@given(
    st.sampled_from([png(), tiff(), npy()]),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6),
    st.integers(0, 400),
    st.sampled_from([PNG, NPY, TIFF, RAW, None]),
)
def test_spoilt_files_raise_nothing_but_our_errors(
    body: bytes, changes: list[tuple[int, int]], length: int, media_type: str | None
) -> None:
    spoilt = bytearray(body)
    for at, value in changes:
        spoilt[at % len(spoilt)] = value
    _decode_or_refuse(bytes(spoilt[:length]), media_type, None, None)


@given(
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"\x93NUMPY\x01\x00"]),
    st.binary(max_size=300),
    st.sampled_from([PNG, NPY, TIFF, RAW, None]),
    st.none() | st.integers(-2, 40),
    st.none() | st.integers(-2, 40),
)
def test_random_bytes_raise_nothing_but_our_errors(
    start: bytes, body: bytes, media_type: str | None, width: int | None, height: int | None
) -> None:
    _decode_or_refuse(start + body, media_type, width, height)


def _decode_or_refuse(
    body: bytes, media_type: str | None, width: int | None, height: int | None
) -> None:
    with contextlib.suppress(PoseError):
        depth_mm: NDArray[np.float32] = decode(body, media_type, width=width, height=height)
        assert depth_mm.size <= LIMITS.max_pixels
        assert np.isfinite(depth_mm).all()
        assert (depth_mm >= 0).all()
