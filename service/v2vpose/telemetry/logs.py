"""Structured logs: one JSON object a line, with the request it belongs to."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

import orjson

_CONTEXT: Final[ContextVar[dict[str, str] | None]] = ContextVar("request", default=None)
_OWN_FIELDS: Final = frozenset(
    (*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message")
)


@contextmanager
def request_context(request_id: str, traceparent: str | None = None) -> Iterator[None]:
    """Name the request (and its W3C trace) in every line logged inside, by this task only."""
    fields = {"request_id": request_id}
    if traceparent is not None:
        fields["traceparent"] = traceparent
    token = _CONTEXT.set(fields)
    try:
        yield
    finally:
        _CONTEXT.reset(token)


def request_fields() -> dict[str, str]:
    """Return the id of the request that this task works on, and its W3C trace if it has one."""
    return _CONTEXT.get() or {}


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time (UTC), level, logger, message, extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; values JSON does not know are written as text."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= request_fields()
        line |= {name: value for name, value in vars(record).items() if name not in _OWN_FIELDS}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str).decode()
        except TypeError:  # a lone surrogate, a number beyond 64 bits
            return json.dumps(line, default=str)
