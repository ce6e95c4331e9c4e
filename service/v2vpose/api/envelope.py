"""What surrounds every REST request: id, metrics, deadline, errors, one log line. Exactly once."""

import asyncio
import logging
import math
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from v2vpose.api.problems import REQUEST_ID_HEADER, internal_problem, problem_of
from v2vpose.errors import DeadlineExceededError, InvalidFieldError, PoseError
from v2vpose.telemetry import Telemetry, request_context

T = TypeVar("T")

TIMEOUT_HEADER: Final = "x-request-timeout"
_CLIENT_GONE: Final = 499  # nginx's: nobody reads it but the log
_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_log: Final = logging.getLogger("v2vpose.requests")


class ClientGoneError(Exception):
    """The caller hung up; nobody waits for the answer."""


def request_id_of(request: Request) -> str:
    """Return the caller's request id if it is a sane one, else a new one."""
    given = request.headers.get(REQUEST_ID_HEADER, "")
    return given if _ID.fullmatch(given) else uuid.uuid4().hex


def deadline_s_of(request: Request, default_timeout_s: float, now_s: float) -> float:
    """Return the instant of `time.monotonic` by which the caller wants the answer.

    Raises:
        InvalidFieldError: the header is not a positive number of seconds.
    """
    given = request.headers.get(TIMEOUT_HEADER)
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


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Run the work, and drop it when the caller hangs up. The body must have been read.

    Raises:
        ClientGoneError: the caller hung up first.
    """
    answer = asyncio.create_task(work)
    hang_up = asyncio.create_task(_hang_up(request))
    try:
        await asyncio.wait({answer, hang_up}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientGoneError
        return answer.result()
    finally:
        for task in (answer, hang_up):
            task.cancel()


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Envelope:
    """Makes endpoints of functions that take a request and its id.

    Args:
        telemetry: where requests are counted.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def endpoint(
        self, route: str, handler: Callable[[Request, str], Awaitable[Response]]
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the endpoint; `route` is its label in metrics and logs."""

        async def enveloped(request: Request) -> Response:
            request_id = request_id_of(request)
            with request_context(request_id, request.headers.get("traceparent")):
                start_s = time.monotonic()
                response, code = await self._answer(route, handler, request, request_id)
                response.headers[REQUEST_ID_HEADER] = request_id
                _log.info(
                    "%s %s",
                    route,
                    code,
                    extra={
                        "route": route,
                        "code": code,
                        "status": response.status_code,
                        "total_ms": round(1000 * (time.monotonic() - start_s), 3),
                    },
                )
                return response

        enveloped.__name__ = route  # names the operation in OpenAPI
        return enveloped

    async def _answer(
        self,
        route: str,
        handler: Callable[[Request, str], Awaitable[Response]],
        request: Request,
        request_id: str,
    ) -> tuple[Response, str]:
        """Return the response and the outcome's code; only cancellation passes through."""
        try:
            with self._telemetry.request(route) as outcome:
                try:
                    return await handler(request, request_id), outcome.code
                except ClientGoneError:
                    outcome.code = "cancelled"
                    return Response(status_code=_CLIENT_GONE), outcome.code
        except PoseError as error:
            return problem_of(error, request_id), error.code
        except Exception:  # noqa: BLE001  # our bug, whatever it is: logged here, once
            _log.exception("%s failed", route)
            return internal_problem(request_id), "internal"
