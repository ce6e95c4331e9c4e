"""Clients of REST and gRPC that know the right answer to what they ask."""

import asyncio
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean
from typing import Any, Protocol

import grpc
import orjson
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.api.pb.pose_pb2_grpc import PoseEstimationStub

SIDE_PX = 16
UNIT_MM = 1 / 64  # so that an order's argument may be a part of a second
Z_MM = 500.0
RETRYABLE = {429: "overloaded", 503: "unavailable"}
CLOSED = "closed"  # the connection ended, or was refused, without an answer


@dataclass(frozen=True, slots=True)
class Question:
    """What a client asks: where, and what the member is to do (see `tests.serving.fakes`)."""

    x_mm: float = 0.0
    order: int = 0
    argument: float = 0.0
    timeout_s: float | None = None

    def depth(self) -> bytes:
        return _depth(self.order, self.argument)


@cache
def _depth(order: int, argument: float) -> bytes:
    first = round(order / UNIT_MM), round(argument / UNIT_MM)
    rest = [round(Z_MM / UNIT_MM)] * (SIDE_PX**2 - 2)
    return struct.pack(f"<{SIDE_PX**2}H", *first, *rest)


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of it: `whole`, `degraded`, the code of an error, or `closed`."""

    code: str
    version: str = ""


class Client(Protocol):
    """One way to ask; one request at a time."""

    way: str

    async def ask(self, question: Question, request_id: str) -> Reply: ...

    async def close(self) -> None: ...


def client_of(kind: int, http_port: int, grpc_port: int) -> Client:
    """Return a REST client for an even number, one of gRPC for an odd one."""
    return RpcClient(grpc_port) if kind % 2 else RestClient(http_port)


class RestClient:
    """One connection that is kept alive, and opened again when the service closed it."""

    way = "rest"

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, question: Question, request_id: str) -> Reply:
        depth = question.depth()
        timeout = f"X-Request-Timeout: {question.timeout_s}\r\n" if question.timeout_s else ""
        head = (
            f"POST /v1/estimate?fx_px=240&fy_px=240&cx_px=8&cy_px=8&depth_unit_mm={UNIT_MM}"
            f"&handedness=right&width={SIDE_PX}&height={SIDE_PX}"
            f"&reference_point_mm={question.x_mm},0,{Z_MM} HTTP/1.1\r\n"
            f"Host: localhost\r\nContent-Type: application/octet-stream\r\n{timeout}"
            f"X-Request-Id: {request_id}\r\nContent-Length: {len(depth)}\r\n\r\n"
        )
        try:
            status, headers, body = await self._exchange(head.encode() + depth)
        except (ConnectionError, asyncio.IncompleteReadError):
            await self.close()
            return Reply(CLOSED)
        except BaseException:  # cancelled: nothing more can be read from this connection
            self.abort()
            raise
        assert headers["x-request-id"] == request_id
        if headers.get("connection") == "close":
            await self.close()
        if status != 200:
            code = str(orjson.loads(body)["code"])
            assert RETRYABLE.get(status, code) == code
            assert ("retry-after" in headers) == (status in RETRYABLE)
            return Reply(code)
        answer = orjson.loads(body)
        points = [(k["x_mm"], k["y_mm"], k["z_mm"]) for k in answer["keypoints"]]
        return checked(question, answer["version"], answer["ensemble"]["answered"], points)

    async def _exchange(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines[1:] if line)
        headers = {name.lower(): value for name, value in pairs}
        return (
            int(lines[0].split()[1]),
            headers,
            await reader.readexactly(int(headers["content-length"])),
        )

    def abort(self) -> None:
        """Hang up, as a client that crashed."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class RpcClient:
    """One channel with a connection of its own."""

    way = "grpc"

    def __init__(self, port: int) -> None:
        self.channel = channel_to(port)
        self._stub = PoseEstimationStub(self.channel)

    async def ask(self, question: Question, request_id: str) -> Reply:
        request = pb.EstimateRequest(depth=depth_of(question), options=options_of(question))
        call = self._stub.Estimate(
            request, timeout=question.timeout_s, metadata=(("x-request-id", request_id),)
        )
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            return Reply(refusal(error))
        return checked_pose(question, answer.pose)

    async def close(self) -> None:
        await self.channel.close()


def channel_to(port: int) -> Any:
    return grpc.aio.insecure_channel(
        f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]
    )


def depth_of(question: Question) -> pb.DepthMap:
    return pb.DepthMap(
        data=question.depth(), encoding=pb.ENCODING_RAW_U16_LE, width=SIDE_PX, height=SIDE_PX
    )


def options_of(question: Question) -> pb.EstimateOptions:
    return pb.EstimateOptions(
        intrinsics=pb.Intrinsics(fx_px=240, fy_px=240, cx_px=8, cy_px=8),
        depth_unit_mm=UNIT_MM,
        handedness=pb.HANDEDNESS_RIGHT,
        reference_point_mm=pb.Point(x_mm=question.x_mm, y_mm=0, z_mm=Z_MM),
    )


def refusal(error: Any) -> str:
    """Return the code of a `grpc.RpcError`; `closed` if it is not the service's word."""
    trailing = dict(error.trailing_metadata() or ())
    if "grpc-status-details-bin" not in trailing:
        is_late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert is_late or error.code() in {
            grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED,
        }, error  # fmt: skip
        return "deadline_exceeded" if is_late else CLOSED
    details = Status.FromString(trailing["grpc-status-details-bin"]).details
    info = ErrorInfo()
    assert details[0].Unpack(info)
    code = str(info.reason).lower()
    is_retryable = code in RETRYABLE.values()
    assert any(detail.Is(RetryInfo.DESCRIPTOR) for detail in details) == is_retryable
    assert not is_retryable or error.code() in {
        grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED,
    }  # fmt: skip
    return code


def checked_pose(question: Question, pose: pb.Pose) -> Reply:
    points = [(k.x_mm, k.y_mm, k.z_mm) for k in pose.keypoints]
    return checked(question, pose.version, pose.ensemble.answered, points)


def checked(
    question: Question,
    version: str,
    answered: Sequence[int],
    points: Sequence[tuple[float, float, float]],
) -> Reply:
    """Check an answer: it is to this question, by these members of this version."""
    right = question.x_mm + fmean(answered), float(version), Z_MM
    assert len(points) == 5
    for point in points:
        apart_mm = max(abs(a - b) for a, b in zip(point, right, strict=True))
        assert apart_mm < 0.002, f"expected {right}, found {point}"
    return Reply("whole" if len(answered) == 3 else "degraded", version)
