"""The caller at the other end of a REST request: its body, its deadline, its hanging up."""

import asyncio
import math
import time
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar

from starlette.types import Message, Receive

from v2vpose.api.decode import Limits
from v2vpose.api.inflight import InflightBytes
from v2vpose.errors import DeadlineExceededError, InvalidFieldError

T = TypeVar("T")

TIMEOUT_HEADER: Final = "x-request-timeout"
_LISTEN_AFTER_S: Final = 0.005


class ClientGoneError(Exception):
    """The caller hung up; nobody waits for the answer."""


async def read_body(
    receive: Receive, headers: Mapping[str, str], limits: Limits, inflight: InflightBytes
) -> bytes:
    """Return the body; refuse it by its declared length, or as soon as it grows too long.

    Only bytes that have arrived are held: a caller who declares much and sends nothing takes
    nobody's room. The bytes of the body returned are the caller's of this function to give back.

    Raises:
        PayloadTooLargeError: over the limit.
        OverloadedError: all bodies together would hold too much.
        ClientGoneError: the caller hung up before its end.
    """
    declared = headers.get("content-length", "")
    if declared.isdecimal():
        limits.check_bytes(int(declared))
        inflight.check(int(declared))
    pieces, held, more = [], 0, True
    try:
        while more:
            message = await receive()
            piece = _piece_of(message)
            limits.check_bytes(held + len(piece))
            inflight.take(len(piece))
            held += len(piece)
            pieces.append(piece)
            more = message.get("more_body", False)
    except BaseException:
        inflight.give(held)
        raise
    return b"".join(pieces)


def _piece_of(message: Message) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    piece: bytes = message.get("body", b"")
    return piece


def deadline_s_of(headers: Mapping[str, str], default_timeout_s: float, now_s: float) -> float:
    """Return the instant of `time.monotonic` by which the caller wants the answer.

    Raises:
        InvalidFieldError: the header is not a positive number of seconds.
    """
    given = headers.get(TIMEOUT_HEADER)
    if given is None:
        return now_s + default_timeout_s
    try:
        timeout_s = float(given)
    except ValueError:
        timeout_s = math.nan
    if not (math.isfinite(timeout_s) and timeout_s > 0):
        raise InvalidFieldError(f"{TIMEOUT_HEADER} must be seconds > 0, got {given[:60]!r}")
    return now_s + min(timeout_s, default_timeout_s)


async def until(deadline_s: float, work: Awaitable[T]) -> T:
    """Wait for something that takes no deadline itself.

    Raises:
        DeadlineExceededError: the deadline passed first.
    """
    try:
        async with asyncio.timeout(deadline_s - time.monotonic()):
            return await work
    except TimeoutError as error:
        raise DeadlineExceededError("the deadline passed before the request was read") from error


@contextmanager
def unless_gone(receive: Receive) -> Iterator[None]:
    """Drop the work of the block when the caller hangs up. The body must have been read.

    It costs a timer; only work that lasts for a while gets a task that listens.

    Raises:
        ClientGoneError: the caller hung up first.
    """
    loop, work = asyncio.get_running_loop(), asyncio.current_task()
    is_gone = False
    listener: asyncio.Task[None] | None = None

    async def listen() -> None:
        nonlocal is_gone
        while (await receive())["type"] != "http.disconnect":
            pass
        is_gone = True
        if work is not None:
            work.cancel()

    def begin() -> None:
        nonlocal listener
        listener = loop.create_task(listen())

    timer = loop.call_later(_LISTEN_AFTER_S, begin)
    try:
        yield
    except asyncio.CancelledError:
        if is_gone and work is not None:
            work.uncancel()
            raise ClientGoneError from None
        raise
    finally:
        timer.cancel()
        if listener is not None:
            listener.cancel()
