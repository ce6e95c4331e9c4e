"""The gRPC server: our service, grpc.health.v1, reflection; its limits and its end."""

import asyncio
import contextlib
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from v2vpose.api.oip_rpc import SERVICE_NAME as OIP_NAME
from v2vpose.api.oip_rpc import OpenInference
from v2vpose.api.parts import WireParts
from v2vpose.api.pb.open_inference_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from v2vpose.api.pb.pose_pb2_grpc import add_PoseEstimationServicer_to_server
from v2vpose.api.rpc import SERVICE_NAME, PoseEstimation
from v2vpose.errors import InvalidFieldError

_ENVELOPE_BYTES: Final = 2**16  # room for options around a depth map of the largest size
_HEALTH_PERIOD_S: Final = 1.0


class RpcServer:
    """gRPC on one port.

    Args:
        parts: what it shares with REST.
        min_peak: mean heatmap peak below which a stream does not follow a pose.
        host: address to listen on.
        port: 0 = any free one.
    """

    def __init__(self, parts: WireParts, *, min_peak: float, host: str, port: int) -> None:
        self._pipeline = parts.pipeline
        self._max_message_bytes = parts.limits.max_body_bytes + _ENVELOPE_BYTES
        self._service = PoseEstimation(parts, min_peak=min_peak)
        self._oip = OpenInference(parts)
        self._health = health.aio.HealthServicer()
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._server: Any = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listen; return the port.

        Raises:
            InvalidFieldError: the port cannot be listened on.
        """
        server = grpc.aio.server(options=_options(self._max_message_bytes))
        add_PoseEstimationServicer_to_server(self._service, server)  # type: ignore[no-untyped-call]
        add_GRPCInferenceServiceServicer_to_server(self._oip, server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection(
            (SERVICE_NAME, OIP_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), server
        )
        try:
            port = int(server.add_insecure_port(self._address))
        except RuntimeError as error:
            raise InvalidFieldError(f"cannot listen on {self._address}: in use?") from error
        await self.update_health()
        await server.start()
        self._server = server
        self._watch = asyncio.create_task(self._watch_health())
        return port

    async def update_health(self) -> None:
        """Say whether the service is ready, to callers of grpc.health.v1."""
        status = health_pb2.HealthCheckResponse
        now = status.SERVING if self._pipeline.ready else status.NOT_SERVING
        for name in ("", SERVICE_NAME):
            await self._health.set(name, now)

    async def stop(self, *, grace_s: float) -> None:
        """Stop accepting, end the streams ourselves, finish RPCs within the grace."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        await self.update_health()
        self._oip.end_streams()
        await self._service.end_streams()
        if self._server is not None:
            await self._server.stop(grace_s)

    async def _watch_health(self) -> None:
        """Tell watchers of a change within a second; costs nothing that can be measured."""
        was = self._pipeline.ready
        while True:
            await asyncio.sleep(_HEALTH_PERIOD_S)
            if self._pipeline.ready != was:
                was = self._pipeline.ready
                await self.update_health()


def _options(max_message_bytes: int) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.so_reuseport", 0),
        # A camera whose network died is noticed within half a minute; clients may ping as often.
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.ping_timeout_ms", 10_000),  # else an unanswered ping may wait for longer
        ("grpc.http2.max_pings_without_data", 0),  # an idle stream is asked again and again
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.max_ping_strikes", 0),
    ]
