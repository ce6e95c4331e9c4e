"""The composition root: the only place that names concrete classes; and the service's life.

One process, one event loop: REST, gRPC and the pipeline. SIGTERM or SIGINT: not ready at once,
still accepting for a short announced delay, then no new connections, finish what was accepted
within the grace, exit 0. A second signal means now.
"""

import asyncio
import contextlib
import gc
import logging
import math
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol

import uvloop
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from v2vpose.api.access import Keys
from v2vpose.api.decode import Limits
from v2vpose.api.http_server import HttpServer
from v2vpose.api.inflight import InflightBytes
from v2vpose.api.offload import Offload
from v2vpose.api.parts import WireParts
from v2vpose.api.rest import RestApp
from v2vpose.api.rpc_server import RpcServer
from v2vpose.errors import InvalidFieldError
from v2vpose.model_store import ModelStore
from v2vpose.serving.engines.local import local_engine
from v2vpose.serving.pipeline import Pipeline, ServingPolicy
from v2vpose.serving.ports import Engine
from v2vpose.serving.scheduler import BatchPolicy
from v2vpose.settings import Settings
from v2vpose.telemetry import JsonFormatter, Telemetry

_ECHO_S: Final = 0.5
_COLLECT_AFTER: Final = (20_000, 20, 50)
_log: Final = logging.getLogger("v2vpose.app")


class Lifecycle(Protocol):
    """The part of the pipeline that starts and ends."""

    async def start(self) -> None:
        """Bring everything up."""
        ...

    def begin_drain(self) -> None:
        """Stop being ready."""
        ...

    async def stop(self, *, grace_s: float) -> None:
        """Finish what was accepted within the grace."""
        ...


class Service:
    """The running service.

    Args:
        engine: what is behind both doors; stopped last.
        http: the HTTP server.
        rpc: the gRPC server.
        drain_delay_s: seconds between "not ready" and the end of accepting.
        drain_grace_s: seconds to finish what was accepted.
    """

    def __init__(
        self,
        *,
        engine: Lifecycle,
        http: HttpServer,
        rpc: RpcServer,
        drain_delay_s: float,
        drain_grace_s: float,
    ) -> None:
        self._engine = engine
        self._http = http
        self._rpc = rpc
        self._drain_delay_s = drain_delay_s
        self._drain_grace_s = drain_grace_s
        self._drain = asyncio.Event()
        self._now = asyncio.Event()
        self.listening = asyncio.Event()
        self.ready = asyncio.Event()
        self.http_port = 0
        self.grpc_port = 0

    def stop(self) -> None:
        """Begin the drain; the second call means now."""
        if self._drain.is_set():
            _log.warning("second signal: stopping now")
            self._now.set()
        else:
            _log.info("draining: %g s not ready but accepting", self._drain_delay_s)
            self._engine.begin_drain()
            self._drain.set()

    async def run(self) -> None:
        """Serve until `stop`.

        Raises:
            InvalidFieldError: a port cannot be listened on.
            PoseError: what the engine raised on its way up.
        """
        try:
            self.http_port = await self._http.start()
            self.grpc_port = await self._rpc.start()
            self.listening.set()
            _log.info("REST on port %d, gRPC on port %d", self.http_port, self.grpc_port)
            await _first_of(self._engine.start(), self._drain.wait())
            if not self._drain.is_set():
                await self._rpc.update_health()
                _collect_seldom()
                self.ready.set()
                _log.info("ready")
            await self._drain.wait()
            await self._rpc.update_health()
            await _first_of(asyncio.sleep(self._drain_delay_s), self._now.wait())
        finally:
            await self._shut_down()

    async def _shut_down(self) -> None:
        """Close both doors, let those inside finish, stop the engine; all within one grace."""
        grace_s = 0.0 if self._now.is_set() else self._drain_grace_s
        deadline_s = time.monotonic() + grace_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await _first_of(self._close_doors(grace_s), self._now.wait())
        left_s = 0.0 if self._now.is_set() else max(deadline_s - time.monotonic(), 0.0)
        await self._engine.stop(grace_s=left_s)
        await self._close_doors(0.0)
        _log.info("stopped")

    async def _close_doors(self, grace_s: float) -> None:
        await asyncio.gather(self._http.stop(grace_s=grace_s), self._rpc.stop(grace_s=grace_s))


EngineOf = Callable[..., Engine]
"""Makes the engine of a model version: `engine(version, max_batch_size=...)`."""


def build(settings: Settings, engine: EngineOf | None = None) -> Service:
    """Wire the service together; nothing runs yet.

    Args:
        settings: every setting.
        engine: None = the one that the settings name.

    Raises:
        InvalidFieldError: there is no model store, or nothing in it; two settings disagree.
    """
    telemetry = _telemetry(settings.otlp_endpoint)
    pipeline = _pipeline(settings, telemetry, engine)
    parts = WireParts(
        pipeline=pipeline,
        telemetry=telemetry,
        keys=Keys(_secret(settings.api_key), _secret(settings.admin_key)),
        limits=Limits(max_body_bytes=settings.max_body_bytes, max_pixels=settings.max_pixels),
        inflight=_inflight(settings),
        offload=Offload(
            threads=settings.decode_threads, max_waiting=settings.max_decode_queue_size
        ),
        timeout_s=settings.request_timeout_s,
    )
    return Service(
        engine=pipeline,
        http=HttpServer(RestApp(parts), host=settings.host, port=settings.http_port),
        rpc=RpcServer(
            parts,
            min_peak=settings.tracking_min_confidence,
            host=settings.host,
            port=settings.grpc_port,
        ),
        drain_delay_s=settings.drain_delay_s,
        drain_grace_s=settings.drain_grace_s,
    )


def serve(settings: Settings) -> None:
    """Run the service in this process until a signal ends it."""
    configure_logging(settings.log_level, settings.log_format)

    async def main() -> None:
        service = build(settings)
        loop = asyncio.get_running_loop()
        stop = without_echo(service.stop, loop.time)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        await service.run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def without_echo(action: Callable[[], None], clock_s: Callable[[], float]) -> Callable[[], None]:
    """Return the action, deaf for a moment after each call.

    Who signals a process group reaches us twice at once: directly, and through a parent such as
    `make` that passes its signal on. That is one wish, not "now".
    """
    last_s = -math.inf

    def heard() -> None:
        nonlocal last_s
        now_s = clock_s()
        if now_s - last_s >= _ECHO_S:
            last_s = now_s
            action()

    return heard


def models_to_serve(named: Sequence[str], store: ModelStore) -> dict[str, str | None]:
    """Return the version of each model to serve, None = the newest; the default model first.

    Args:
        named: `model` or `model@version`; none = `hand` if the store has it, else all.
        store: where they are.

    Raises:
        InvalidFieldError: there are none.
    """
    parts = [text.partition("@") for text in named or store.unnamed()]
    if not parts:
        raise InvalidFieldError(f"no models in {store.root}")
    return {model: version or None for model, _, version in parts}


def configure_logging(level: str, log_format: str) -> None:
    """Write log lines to stderr: JSON, or text for people at a terminal."""
    is_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
        if is_text
        else JsonFormatter()
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # never written
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def _collect_seldom() -> None:
    """Look for garbage cycles seldom, and not among what was made until now.

    A request makes hundreds of objects and no cycles; looking for some costs a sixth of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


async def _first_of(*works: Awaitable[Any]) -> None:
    """Wait for the first to end; cancel the others; pass on what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


def _inflight(settings: Settings) -> InflightBytes:
    """Return the bound on what all requests hold.

    Raises:
        InvalidFieldError: it is less than one request may have.
    """
    most, one = settings.max_inflight_bytes, settings.max_body_bytes
    if most < one:
        raise InvalidFieldError(
            f"max_inflight_bytes must be at least max_body_bytes = {one}, got {most}"
        )
    return InflightBytes(most)


def _telemetry(otlp_endpoint: str | None) -> Telemetry:
    """Return the metrics, and spans where somebody collects them.

    Raises:
        InvalidFieldError: spans need what is not installed.
    """
    if otlp_endpoint is None:
        return Telemetry(CollectorRegistry())
    try:
        from v2vpose.telemetry.tracing import Tracer  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as error:
        raise InvalidFieldError(
            f"otlp_endpoint needs what is not installed ({error.name}): pip install 'v2vpose[otel]'"
        ) from error
    return Telemetry(CollectorRegistry(), Tracer(otlp_endpoint))


def _pipeline(settings: Settings, telemetry: Telemetry, engine: EngineOf | None) -> Pipeline:
    store = ModelStore(settings.store_path())
    return Pipeline(
        store,
        models_to_serve(settings.models, store),
        engine=partial(
            engine or _engine(settings),
            max_batch_size=settings.max_batch_size,
        ),
        policy=ServingPolicy(
            batch=BatchPolicy(
                max_batch_size=settings.max_batch_size,
                max_queue_delay_s=settings.max_queue_delay_ms / 1000,
            ),
            max_queue_size=settings.max_queue_size,
            quorum=settings.quorum,
            locate_threads=settings.locate_threads,
        ),
        telemetry=telemetry,
    )


def _engine(settings: Settings) -> EngineOf:
    """Return what makes engines, as the settings name it.

    Raises:
        InvalidFieldError: it needs what is not installed.
    """
    backend = settings.wished_backend()
    if settings.engine == "local":
        return partial(local_engine, backend=backend, replicas=settings.replicas)
    try:
        from v2vpose.serving.engines.ray_cluster import Share  # noqa: PLC0415  # an extra
        from v2vpose.serving.engines.ray_engine import ray_engine  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise InvalidFieldError(
            f"engine ray needs what is not installed ({error.name}): pip install 'v2vpose[ray]'"
        ) from error
    return partial(
        ray_engine,
        address=settings.ray_address,
        share=Share(cpus=settings.ray_cpus, gpus=settings.ray_gpus),
        actors=settings.ray_actors,
        backend=backend,
        replicas=settings.replicas,
    )
