"""What surrounds every RPC: id, metrics, errors with google.rpc details, one log line."""

import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from v2vpose.api.problems import INTERNAL_DETAIL, REQUEST_ID_HEADER
from v2vpose.api.status import RETRY_AFTER_S, wire_status
from v2vpose.errors import PoseError
from v2vpose.telemetry import Telemetry, request_context

DOMAIN: Final = "v2vpose"
_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_DETAILS_KEY: Final = "grpc-status-details-bin"
_log: Final = logging.getLogger("v2vpose.requests")


def metadata_of(context: Any) -> Mapping[str, str]:
    """Return the caller's text metadata."""
    return {key: value for key, value in context.invocation_metadata() or () if key[-4:] != "-bin"}


@asynccontextmanager
async def rpc_envelope(context: Any, telemetry: Telemetry, route: str) -> AsyncIterator[str]:
    """Give the RPC an id; count, time and log it; turn what it raises into its status."""
    metadata = metadata_of(context)
    given = metadata.get(REQUEST_ID_HEADER, "")
    request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex
    start_s = time.monotonic()
    code = "cancelled"
    with request_context(request_id, metadata.get("traceparent")):
        try:
            context.set_trailing_metadata(((REQUEST_ID_HEADER, request_id),))
            with telemetry.request(route):
                yield request_id
            code = "ok"
        except PoseError as error:
            code = error.code
            await _abort(context, error, request_id)
        except Exception:  # noqa: BLE001  # our bug, whatever it is: logged here, once
            code = "internal"
            _log.exception("%s failed", route)
            await _abort_internal(context, request_id)
        finally:
            total_ms = round(1000 * (time.monotonic() - start_s), 3)
            _log.info(
                "%s %s", route, code, extra={"route": route, "code": code, "total_ms": total_ms}
            )


async def _abort(context: Any, error: PoseError, request_id: str) -> None:
    status = wire_status(error)
    details = [_packed(_info(error.code, request_id))]
    more = []
    if status.is_retryable:
        details.append(_packed(RetryInfo(retry_delay=Duration(seconds=RETRY_AFTER_S))))
        more.append(("grpc-retry-pushback-ms", str(1000 * RETRY_AFTER_S)))
    await _abort_with(context, status.grpc, str(error), details, request_id, more)


async def _abort_internal(context: Any, request_id: str) -> None:
    details = [_packed(_info("internal", request_id))]
    await _abort_with(context, grpc.StatusCode.INTERNAL, INTERNAL_DETAIL, details, request_id, [])


async def _abort_with(
    context: Any,
    code: grpc.StatusCode,
    text: str,
    details: list[AnyMessage],
    request_id: str,
    more: list[tuple[str, str]],
) -> None:
    status = Status(code=code.value[0], message=text, details=details)
    trailing = (
        (REQUEST_ID_HEADER, request_id),
        (_DETAILS_KEY, status.SerializeToString()),
        *more,
    )
    await context.abort(code, text, trailing)


def _info(code: str, request_id: str) -> ErrorInfo:
    return ErrorInfo(reason=code.upper(), domain=DOMAIN, metadata={"request_id": request_id})


def _packed(message: Any) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed
