"""OpenTelemetry: every request one span, under it one for each stage, sent by OTLP over HTTP.

Spans are made of the timings that are measured anyway, when these are told; nothing is timed twice.
Sampling, headers and batching are the SDK's own `OTEL_*` variables.
An extra: only who names a collector needs `opentelemetry`.
"""

import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from v2vpose import __version__
from v2vpose.telemetry.logs import request_fields

_PATH: Final = "/v1/traces"
_TIMEOUT_S: Final = 2.0  # of one export; what is left at the end of the service waits no longer
_OUR_FAULT: Final = frozenset({"internal", "unavailable", "deadline_exceeded"})
_ID: Final = "v2vpose.request_id"
_CODE: Final = "v2vpose.code"
_CURRENT: Final[ContextVar["Trace | None"]] = ContextVar("trace", default=None)
_propagator: Final = TraceContextTextMapPropagator()


class Tracer:
    """Makes spans and sends them; they are flushed when the process ends.

    Args:
        endpoint: URL of a collector, such as `http://localhost:4318`.
    """

    def __init__(self, endpoint: str) -> None:
        resource = Resource.create({"service.name": "v2vpose", "service.version": __version__})
        self._provider = TracerProvider(resource=resource)
        exporter = OTLPSpanExporter(endpoint.rstrip("/") + _PATH, timeout=_TIMEOUT_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("v2vpose", __version__)

    def begin(self, route: str) -> "Trace":
        """Begin the span of a request: a child of the one around it, or of its `traceparent`."""
        fields = request_fields()
        outer = _CURRENT.get()
        context = _propagator.extract(fields) if outer is None else set_span_in_context(outer.span)
        span = self._tracer.start_span(route, context, SpanKind.SERVER)
        span.set_attribute(_ID, fields.get("request_id", ""))
        trace = Trace(self, span, outer)
        _CURRENT.set(trace)
        return trace

    def stages(self, timing_s: Mapping[str, float]) -> None:
        """Add the stages, in their order, to the request that this task works on."""
        trace = _CURRENT.get()
        if trace is not None and trace.span.is_recording():
            trace.add(timing_s)

    def child(self, parent: Span, name: str, begin_ns: int, end_ns: int) -> None:
        """Write down a span that is over."""
        span = self._tracer.start_span(name, set_span_in_context(parent), start_time=begin_ns)
        span.end(end_ns)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


class Trace:
    """A request's span, and where its next stage begins.

    Args:
        tracer: writes the stages down.
        span: of the request.
        outer: the request around it: a stream, of a frame.
    """

    __slots__ = ("_cursor_ns", "_outer", "_tracer", "span")

    def __init__(self, tracer: Tracer, span: Span, outer: "Trace | None") -> None:
        self.span = span
        self._tracer = tracer
        self._outer = outer
        self._cursor_ns: int | None = None

    def add(self, timing_s: Mapping[str, float]) -> None:
        """Lay stages end to end, from the end of those told before; the last one ends now."""
        now_ns = time.time_ns()
        begin_ns = self._cursor_ns or now_ns - _ns(sum(timing_s.values()))
        *first, last = timing_s
        for stage in first:
            end_ns = begin_ns + _ns(timing_s[stage])
            self._tracer.child(self.span, stage, begin_ns, end_ns)
            begin_ns = end_ns
        self._tracer.child(self.span, last, now_ns - _ns(timing_s[last]), now_ns)
        self._cursor_ns = now_ns

    def end(self, code: str) -> None:
        """End the span of the request.

        Args:
            code: the outcome; only what is the service's own fault makes the span an error.
        """
        self.span.set_attribute(_CODE, code)
        if code in _OUR_FAULT:
            self.span.set_status(Status(StatusCode.ERROR, code))
        self.span.end()
        _CURRENT.set(self._outer)


def _ns(seconds: float) -> int:
    return round(1e9 * seconds)
