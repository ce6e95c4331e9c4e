"""Every metric of the service, in one object that takes its registry.

One process owns the metrics; workers send their timings with their answers. Names are
`v2vpose_<what>_<unit>` in base units, labels come from closed sets.
"""

import asyncio
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from v2vpose import __version__
from v2vpose.errors import PoseError
from v2vpose.telemetry.histogram import Histogram

if TYPE_CHECKING:
    from v2vpose.telemetry.tracing import Tracer

OK: Final = "ok"
CANCELLED: Final = "cancelled"
INTERNAL: Final = "internal"

_SECONDS: Final = tuple(0.00025 * 2**step for step in range(16))  # 0.25 ms .. 8.2 s
_COUNTS: Final = tuple(2**step for step in range(9))  # 1 .. 256
_MILLIMETRES: Final = tuple(0.25 * 2**step for step in range(10))  # 0.25 .. 128 mm
_SHARES: Final = tuple(step / 10 for step in range(1, 11))  # 0.1 .. 1


@dataclass(slots=True)
class Outcome:
    """How a request ended: `ok`, an error's code, `cancelled` or `internal`."""

    code: str = OK


class Telemetry:
    """The metrics of one service.

    Args:
        registry: where they are collected; two services in one process take two registries.
        tracer: makes spans of the same timings; None = nobody wants any.
    """

    def __init__(self, registry: CollectorRegistry, tracer: "Tracer | None" = None) -> None:
        self.registry = registry
        self._tracer = tracer
        self.requests_total = Counter(
            "v2vpose_requests_total",
            "Requests answered, by route and outcome.",
            ("route", "code"),
            registry=registry,
        )
        self.request_seconds = Histogram(
            "v2vpose_request_seconds",
            "From the first byte understood to the answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "v2vpose_stage_seconds",
            "Where a request's time went.",
            ("stage",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "v2vpose_batch_size", "Crops in a batch.", buckets=_COUNTS, registry=registry
        )
        self.queue_depth = Gauge(
            "v2vpose_queue_depth",
            "Requests accepted that no worker has yet.",
            ("model",),
            registry=registry,
        )
        self.in_flight = Gauge("v2vpose_in_flight", "Requests being worked on.", registry=registry)
        self.rejected_total = Counter(
            "v2vpose_rejected_total",
            "Requests refused or given up by the engine: the error's code, or cancelled.",
            ("reason",),
            registry=registry,
        )
        self.worker_up = Gauge(
            "v2vpose_worker_up",
            "Warm replicas of an epoch checkpoint.",
            ("model", "epoch", "device"),
            registry=registry,
        )
        self.worker_restarts_total = Counter(
            "v2vpose_worker_restarts_total",
            "Worker processes started again after they died or hung.",
            registry=registry,
        )
        self.ensemble_answered = Histogram(
            "v2vpose_ensemble_answered",
            "Epoch checkpoints that answered a request.",
            ("model",),
            buckets=_COUNTS,
            registry=registry,
        )
        self.degraded_total = Counter(
            "v2vpose_degraded_total",
            "Answers with fewer epoch checkpoints than asked.",
            registry=registry,
        )
        self.ensemble_spread_mm = Histogram(
            "v2vpose_ensemble_spread_mm",
            "Mean over the keypoints of the members' spread.",
            buckets=_MILLIMETRES,
            registry=registry,
        )
        self.keypoint_confidence = Histogram(
            "v2vpose_keypoint_confidence",
            "Mean over the keypoints of the heatmap peaks.",
            buckets=_SHARES,
            registry=registry,
        )
        self.stream_active = Gauge("v2vpose_stream_active", "Open streams.", registry=registry)
        self.stream_frames_dropped_total = Counter(
            "v2vpose_stream_frames_dropped_total",
            "Frames of streams replaced by newer ones before they were worked on.",
            registry=registry,
        )
        self.model_info = Gauge(
            "v2vpose_model_info",
            "The model versions being served.",
            ("model", "version"),
            registry=registry,
        )
        self.build_info = Gauge(
            "v2vpose_build_info", "This build.", ("version", "python"), registry=registry
        )
        self.build_info.labels(__version__, platform.python_version()).set(1)

    @contextmanager
    def request(self, route: str) -> Iterator[Outcome]:
        """Count and time a request; whatever is raised sets the outcome and passes on.

        Args:
            route: a member of a closed set, never a path as the caller wrote it.
        """
        outcome = Outcome()
        start = time.perf_counter()
        self.in_flight.inc()
        trace = None if self._tracer is None else self._tracer.begin(route)
        try:
            yield outcome
        except BaseException as error:
            outcome.code = _code(error)
            raise
        finally:
            self.in_flight.dec()
            self.request_seconds.labels(route).observe(time.perf_counter() - start)
            self.requests_total.labels(route, outcome.code).inc()
            if trace is not None:
                trace.end(outcome.code)

    def stages(self, timing_s: Mapping[str, float]) -> None:
        """Record stages that were timed elsewhere, seconds by stage."""
        labels = self.stage_seconds.labels
        for stage, seconds in timing_s.items():
            labels(stage).observe(seconds)
        if self._tracer is not None:
            self._tracer.stages(timing_s)

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Count an open stream while it is open."""
        with self.stream_active.track_inprogress():
            yield


def _code(error: BaseException) -> str:
    if isinstance(error, PoseError):
        return error.code
    return CANCELLED if isinstance(error, asyncio.CancelledError) else INTERNAL
