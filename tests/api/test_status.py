from http import HTTPStatus

import grpc
import pytest

from v2vpose.api.status import STATUS, wire_status
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

CODE = grpc.StatusCode


def test_the_table_covers_the_closed_set_and_nothing_else() -> None:
    ours = {e for e in PoseError.__subclasses__() if e.__module__.startswith("v2vpose.")}
    assert set(STATUS) == ours


@pytest.mark.parametrize(
    ("error", "http", "code", "is_retryable"),
    [
        (InvalidDepthMapError, 400, CODE.INVALID_ARGUMENT, False),
        (InvalidFieldError, 422, CODE.INVALID_ARGUMENT, False),
        (NothingToEstimateError, 422, CODE.INVALID_ARGUMENT, False),
        (UnsupportedEncodingError, 415, CODE.INVALID_ARGUMENT, False),
        (PayloadTooLargeError, 413, CODE.RESOURCE_EXHAUSTED, False),
        (UnknownModelError, 404, CODE.NOT_FOUND, False),
        (InvalidModelError, 422, CODE.FAILED_PRECONDITION, False),
        (UnauthenticatedError, 401, CODE.UNAUTHENTICATED, False),
        (PermissionDeniedError, 403, CODE.PERMISSION_DENIED, False),
        (OverloadedError, 429, CODE.RESOURCE_EXHAUSTED, True),
        (DeadlineExceededError, 504, CODE.DEADLINE_EXCEEDED, False),
        (UnavailableError, 503, CODE.UNAVAILABLE, True),
    ],
)
def test_every_error_has_the_status_of_the_contract(
    error: type[PoseError], http: int, code: grpc.StatusCode, is_retryable: bool
) -> None:
    status = wire_status(error("text"))
    assert (status.http, status.grpc, status.is_retryable) == (HTTPStatus(http), code, is_retryable)


def test_every_error_has_its_own_code() -> None:
    assert len({error.code for error in STATUS}) == len(STATUS)
