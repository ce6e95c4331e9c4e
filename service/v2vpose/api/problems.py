"""Errors as RFC 9457 problem details."""

from http import HTTPStatus
from typing import Final

import orjson
from starlette.responses import Response

from v2vpose.api.status import RETRY_AFTER_S, wire_status
from v2vpose.errors import PoseError, UnauthenticatedError

MEDIA_TYPE: Final = "application/problem+json"
REQUEST_ID_HEADER: Final = "x-request-id"
INTERNAL_DETAIL: Final = (
    "an error of the service; it is logged under this request_id, nothing is wrong with the request"
)


def problem(
    status: HTTPStatus,
    *,
    code: str,
    detail: str,
    request_id: str,
    headers: dict[str, str] | None = None,
) -> Response:
    """Return a problem+json answer."""
    body = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "code": code,
        "detail": detail,
        "request_id": request_id,
    }
    return Response(
        orjson.dumps(body),
        status.value,
        {REQUEST_ID_HEADER: request_id, **(headers or {})},
        media_type=MEDIA_TYPE,
    )


def problem_of(error: PoseError, request_id: str) -> Response:
    """Return the answer to an error of the closed set."""
    status = wire_status(error)
    headers = {}
    if status.is_retryable:
        headers["retry-after"] = str(RETRY_AFTER_S)
    if isinstance(error, UnauthenticatedError):
        headers["www-authenticate"] = "Bearer"
    return problem(
        status.http, code=error.code, detail=str(error), request_id=request_id, headers=headers
    )


def internal_problem(request_id: str) -> Response:
    """Return the answer to our own bug; what it was stays in the log."""
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        code="internal",
        detail=INTERNAL_DETAIL,
        request_id=request_id,
    )
