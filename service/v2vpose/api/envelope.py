"""What surrounds every REST request: id, metrics, errors, one log line. Exactly once."""

import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from v2vpose.api.caller import ClientGoneError
from v2vpose.api.problems import REQUEST_ID_HEADER, internal_problem, problem_of
from v2vpose.errors import PoseError
from v2vpose.telemetry import Telemetry, request_context

_CLIENT_GONE: Final = 499  # nginx's: nobody reads it but the log
_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_log: Final = logging.getLogger("v2vpose.requests")


def request_id_of(headers: Mapping[str, str]) -> str:
    """Return the caller's request id if it is a sane one, else a new one."""
    given = headers.get(REQUEST_ID_HEADER, "")
    return given if _ID.fullmatch(given) else uuid.uuid4().hex


class Envelope:
    """Surrounds endpoints, which take a request's id and return a response.

    Args:
        telemetry: where requests are counted.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def endpoint(
        self, route: str, handler: Callable[[Request, str], Awaitable[Response]]
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return an endpoint for the framework; `route` is its label in metrics and logs."""

        async def enveloped(request: Request) -> Response:
            return await self.respond(route, request.headers, partial(handler, request))

        enveloped.__name__ = route  # names the operation in OpenAPI
        return enveloped

    async def respond(
        self, route: str, headers: Mapping[str, str], work: Callable[[str], Awaitable[Response]]
    ) -> Response:
        """Do the work of a request; only cancellation passes through.

        Args:
            route: its label in metrics and logs.
            headers: of the request.
            work: takes the request's id.
        """
        request_id = request_id_of(headers)
        with request_context(request_id, headers.get("traceparent")):
            start_s = time.monotonic()
            response, code = await self._answer(route, work, request_id)
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

    async def _answer(
        self, route: str, work: Callable[[str], Awaitable[Response]], request_id: str
    ) -> tuple[Response, str]:
        """Return the response and the outcome's code."""
        try:
            with self._telemetry.request(route) as outcome:
                try:
                    return await work(request_id), outcome.code
                except ClientGoneError:
                    outcome.code = "cancelled"
                    return Response(status_code=_CLIENT_GONE), outcome.code
        except PoseError as error:
            return problem_of(error, request_id), error.code
        except Exception:  # noqa: BLE001  # our bug, whatever it is: logged here, once
            _log.exception("%s failed", route)
            return internal_problem(request_id), "internal"
