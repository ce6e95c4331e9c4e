"""The one table from errors to HTTP and gRPC status codes; nothing else decides one."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import grpc

from v2vpose.errors import (
    DeadlineExceededError,
    InvalidDepthMapError,
    InvalidFieldError,
    InvalidModelError,
    NothingToEstimateError,
    OverloadedError,
    PayloadTooLargeError,
    PermissionDeniedError,
    PoseError,
    UnauthenticatedError,
    UnavailableError,
    UnknownModelError,
    UnsupportedEncodingError,
)

RETRY_AFTER_S: Final = 1
"""What `Retry-After` and gRPC's pushback say: a queue that is full now has moved by then."""


@dataclass(frozen=True, slots=True)
class WireStatus:
    """How an error looks on the wire, and whether the same request may succeed later."""

    http: HTTPStatus
    grpc: grpc.StatusCode
    is_retryable: bool = False


STATUS: Final[dict[type[PoseError], WireStatus]] = {
    InvalidDepthMapError: WireStatus(HTTPStatus.BAD_REQUEST, grpc.StatusCode.INVALID_ARGUMENT),
    InvalidFieldError: WireStatus(
        HTTPStatus.UNPROCESSABLE_ENTITY, grpc.StatusCode.INVALID_ARGUMENT
    ),
    NothingToEstimateError: WireStatus(
        HTTPStatus.UNPROCESSABLE_ENTITY, grpc.StatusCode.INVALID_ARGUMENT
    ),
    UnsupportedEncodingError: WireStatus(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, grpc.StatusCode.INVALID_ARGUMENT
    ),
    PayloadTooLargeError: WireStatus(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, grpc.StatusCode.RESOURCE_EXHAUSTED
    ),
    UnknownModelError: WireStatus(HTTPStatus.NOT_FOUND, grpc.StatusCode.NOT_FOUND),
    InvalidModelError: WireStatus(
        HTTPStatus.UNPROCESSABLE_ENTITY, grpc.StatusCode.FAILED_PRECONDITION
    ),
    UnauthenticatedError: WireStatus(HTTPStatus.UNAUTHORIZED, grpc.StatusCode.UNAUTHENTICATED),
    PermissionDeniedError: WireStatus(HTTPStatus.FORBIDDEN, grpc.StatusCode.PERMISSION_DENIED),
    OverloadedError: WireStatus(
        HTTPStatus.TOO_MANY_REQUESTS, grpc.StatusCode.RESOURCE_EXHAUSTED, is_retryable=True
    ),
    DeadlineExceededError: WireStatus(
        HTTPStatus.GATEWAY_TIMEOUT, grpc.StatusCode.DEADLINE_EXCEEDED
    ),
    UnavailableError: WireStatus(
        HTTPStatus.SERVICE_UNAVAILABLE, grpc.StatusCode.UNAVAILABLE, is_retryable=True
    ),
}


def wire_status(error: PoseError) -> WireStatus:
    """Return how an error looks on the wire."""
    return STATUS[type(error)]
