"""Bytes from anybody: a depth map within the limits, or an error that names them; nothing else."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2vpose.api.decode import MEDIA_TYPES, Encoding, Limits, decode_frame, decode_image
from v2vpose.api.decode.frames import encode_frame
from v2vpose.errors import PoseError
from v2vpose.values import DepthArray

LIMITS = Limits(max_body_bytes=10_000, max_pixels=2_000)
PIXELS = np.random.default_rng(0).integers(0, 2000, (30, 40)).astype(np.uint16)


def valid(encoding: Encoding) -> bytes:
    is_metres = encoding is Encoding.RAW_F32_LE_METRES
    kind = (
        Encoding.ROS_COMPRESSED_DEPTH_16UC1
        if encoding is Encoding.ROS_COMPRESSED_DEPTH_32FC1
        else encoding
    )
    return encode_frame(PIXELS / 1000 if is_metres else PIXELS, kind)


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, PIXELS)
    return file.getvalue()


@st.composite
def harmed(draw: st.DrawFn, good: bytes) -> bytes:
    """Good bytes cut short, with some changed, and some more behind; or any bytes at all."""
    if draw(st.integers(0, 3)) == 0:
        return draw(st.binary(max_size=300))
    data = bytearray(good[: draw(st.integers(0, len(good)))] if draw(st.booleans()) else good)
    places = st.one_of(st.integers(0, 63), st.integers(0, max(len(data) - 1, 0)))
    for place, value in draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=6)):
        if place < len(data):
            data[place] = value
    return bytes(data) + draw(st.binary(max_size=8))


def is_told_apart(decode: Callable[[], DepthArray]) -> None:
    try:
        depth_mm = decode()
    except PoseError:
        return
    assert depth_mm.dtype == np.float32
    assert depth_mm.ndim == 2
    assert 0 < depth_mm.size <= LIMITS.max_pixels


SIZES = st.one_of(st.none(), st.sampled_from([0, -1, 30, 40, 65_536, 2**31]))


@pytest.mark.parametrize("encoding", list(Encoding))
@given(data=st.data())
def test_a_harmed_frame_is_a_depth_map_or_a_named_error(
    encoding: Encoding, data: st.DataObject
) -> None:
    payload = data.draw(harmed(valid(encoding)))
    is_sane = data.draw(st.booleans())
    width, height = (40, 30) if is_sane else (data.draw(SIZES), data.draw(SIZES))
    is_told_apart(
        lambda: decode_frame(
            payload, encoding, depth_unit_mm=1.0, limits=LIMITS, width=width, height=height
        )
    )


@pytest.mark.parametrize("media_type", [*MEDIA_TYPES, None, "text/plain"])
@given(data=st.data())
def test_a_harmed_image_is_a_depth_map_or_a_named_error(
    media_type: str | None, data: st.DataObject
) -> None:
    good = data.draw(st.sampled_from([npy(), valid(Encoding.PNG16), PIXELS.tobytes()]))
    body = data.draw(harmed(good))
    width, height = data.draw(SIZES), data.draw(SIZES)
    is_told_apart(
        lambda: decode_image(
            body, media_type, depth_unit_mm=1.0, limits=LIMITS, width=width, height=height
        )
    )
