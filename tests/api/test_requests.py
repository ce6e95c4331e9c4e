import contextlib
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2vpose.api.caller import ClientGoneError, read_body
from v2vpose.api.decode import Limits
from v2vpose.api.inflight import InflightBytes
from v2vpose.api.multipart import split_form
from v2vpose.api.requests import EstimateRequest, estimate_request
from v2vpose.errors import (
    InvalidDepthMapError,
    InvalidFieldError,
    PayloadTooLargeError,
    PoseError,
    UnsupportedEncodingError,
)

CAMERA = {"fx_px": "475.5", "fy_px": "476", "cx_px": "320", "cy_px": "240"}
FORM = "multipart/form-data; boundary=b"
PART = b'--b\r\ncontent-disposition: form-data; name="a"\r\n\r\n'
ROOM = InflightBytes(10**6)
DEPTH = b"\x00\r\n--depth\xff"


def form(
    **parts: tuple[str | None, bytes | str, str] | tuple[str | None, bytes | str],
) -> EstimateRequest:
    request = httpx.Request("POST", "http://x", files=parts)
    return estimate_request(request.read(), request.headers["content-type"], b"")


def query(**more: str) -> bytes:
    return urlencode({**CAMERA, **more}).encode()


def fields(**values: str) -> dict[str, tuple[None, str]]:
    return {name: (None, value) for name, value in values.items()}


def test_a_bare_body_takes_its_fields_from_the_query() -> None:
    asked = estimate_request(DEPTH, "image/png", query(model="hand"))
    assert (asked.depth, asked.media_type, asked.fields.model) == (DEPTH, "image/png", "hand")


def test_a_form_gives_the_same_as_a_bare_body() -> None:
    bare = estimate_request(DEPTH, "image/png", query(epochs="1,2"))
    asked = form(depth=("a.png", DEPTH, "image/png"), **fields(**CAMERA, epochs="1,2"))
    assert asked == bare


def test_a_json_part_gives_the_same_as_fields() -> None:
    json = '{"fx_px": 475.5, "fy_px": 476, "cx_px": 320, "cy_px": 240, "epochs": [1, 2]}'
    one = form(depth=("a.png", DEPTH, "image/png"), request=(None, json, "application/json"))
    assert one == form(depth=("a.png", DEPTH, "image/png"), **fields(**CAMERA, epochs="1,2"))


def test_a_part_without_a_type_has_none() -> None:
    body = b'--b\r\ncontent-disposition: form-data; name="depth"\r\n\r\nxyz\r\n--b--\r\n'
    (part,) = split_form(body, "multipart/form-data; boundary=b")
    assert (part.name, part.media_type, part.content) == ("depth", None, b"xyz")


@pytest.mark.parametrize(
    ("content_type", "found"), [("application/json", "application/json"), (None, "none")]
)
def test_another_content_type_is_refused_with_those_we_read(
    content_type: str | None, found: str
) -> None:
    with pytest.raises(UnsupportedEncodingError, match=f"multipart.*image/png.*found {found}"):
        estimate_request(b"{}", content_type, b"")


def test_a_form_without_a_depth_map_names_its_parts() -> None:
    with pytest.raises(InvalidDepthMapError, match="no file part 'depth'; its parts: image, fx_px"):
        form(image=("a.png", DEPTH), **fields(fx_px="1"))


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"request": (None, "{"), **fields(**CAMERA)}, "in request, not both: found fx_px"),
        ({"request": (None, "{")}, "request must be JSON"),
        ({"request": (None, "[1]")}, "request must be a JSON object"),
        ({"model": (None, b"\xff\xfe"), **fields(**CAMERA)}, "model must be UTF-8 text"),
        (fields(fx_px="1"), "fy_px, cx_px, cy_px missing"),
    ],
)
def test_broken_forms_are_refused(more: dict[str, tuple[None, str]], text: str) -> None:
    with pytest.raises(InvalidFieldError, match=text):
        form(depth=("a.png", DEPTH), **more)


def test_fields_of_a_form_do_not_go_into_the_query() -> None:
    with pytest.raises(InvalidFieldError, match="go into the form, not the query"):
        estimate_request(b"", "multipart/form-data; boundary=x", b"fx_px=1")


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (b"", "multipart/form-data", "needs a boundary"),
        (b"nonsense", FORM, "malformed"),
        (PART + b"x", FORM, "truncated"),
        (b"--b\r\nx: y\r\n\r\nx\r\n--b--\r\n", FORM, "needs a name"),
        ((PART + b"x\r\n") * 65 + b"--b--", FORM, "more than 64 parts"),
    ],
)  # fmt: skip
def test_malformed_multipart_is_refused(body: bytes, content_type: str, text: str) -> None:
    with pytest.raises(InvalidFieldError, match=text):
        split_form(body, content_type)


@given(st.binary(max_size=200))
def test_random_forms_raise_nothing_but_our_errors(body: bytes) -> None:
    for whole in (body, PART + body):
        with contextlib.suppress(PoseError):
            split_form(whole, FORM)


class Sent:
    """The pieces of a body, as ASGI hands them over."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.taken = 0

    async def __call__(self) -> dict[str, Any]:
        self.taken += 1
        piece = self._pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self._pieces)}


async def test_a_body_is_read_whole() -> None:
    assert await read_body(Sent(b"ab", b"", b"c"), {}, Limits(max_body_bytes=3), ROOM) == b"abc"


async def test_a_body_that_declares_too_much_is_not_read_at_all() -> None:
    sent = Sent(b"abcd")
    with pytest.raises(PayloadTooLargeError, match="more than 3 bytes"):
        await read_body(sent, {"content-length": "4"}, Limits(max_body_bytes=3), ROOM)
    assert sent.taken == 0


async def test_a_body_that_grows_too_long_is_read_no_further() -> None:
    sent = Sent(*[b"ab"] * 9)
    with pytest.raises(PayloadTooLargeError, match="more than 3 bytes"):
        await read_body(sent, {}, Limits(max_body_bytes=3), ROOM)
    assert sent.taken == 2


async def test_a_caller_who_hangs_up_before_the_end_of_the_body_is_gone() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    with pytest.raises(ClientGoneError):
        await read_body(receive, {}, Limits(), ROOM)
