"""The bound on the bytes that all requests together hold, at every door; nothing leaks."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import numpy as np
import orjson
import pytest

from tests.api.conftest import client_of, parts
from tests.api.fakes import FakePipeline
from v2vpose.api.caller import ClientGoneError, read_body
from v2vpose.api.decode import Limits
from v2vpose.api.inflight import InflightBytes
from v2vpose.api.pb import open_inference_pb2 as oip
from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.api.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub
from v2vpose.api.pb.pose_pb2_grpc import PoseEstimationStub
from v2vpose.api.rest import RestApp
from v2vpose.api.rpc_server import RpcServer
from v2vpose.app import build
from v2vpose.errors import InvalidFieldError, OverloadedError
from v2vpose.settings import Settings

RAW = np.full((24, 32), 500, "<u2").tobytes()
SIZE = len(RAW)
QUERY = {"fx_px": 240.0, "fy_px": 241.0, "cx_px": 16.0, "cy_px": 12.0, "width": 32, "height": 24}
DEPTH = pb.DepthMap(data=RAW, encoding=pb.ENCODING_RAW_U16_LE, width=32, height=24)
OPTIONS = pb.EstimateOptions(intrinsics=pb.Intrinsics(fx_px=240, fy_px=241, cx_px=16, cy_px=12))


@dataclass
class Doors:
    """REST and gRPC over one fake pipeline, with room for two depth maps."""

    pipeline: FakePipeline
    inflight: InflightBytes
    client: httpx.AsyncClient
    channel: Any

    async def rest(self) -> tuple[int, dict[str, str]]:
        headers = {"content-type": "application/octet-stream"}
        response = await self.client.post(
            "/v1/estimate", params=QUERY, content=RAW, headers=headers
        )
        return response.status_code, dict(response.headers)

    async def oip_rest(self) -> tuple[int, dict[str, str]]:
        inputs = [
            {"name": "depth", "datatype": "UINT16", "shape": [1, 1], "data": [500]},
            {"name": "intrinsics", "datatype": "FP32", "shape": [4], "data": [240, 241, 16, 12]},
        ]
        content = orjson.dumps({"inputs": inputs}).ljust(SIZE)
        response = await self.client.post("/v2/models/hand/infer", content=content)
        return response.status_code, dict(response.headers)

    async def grpc(self) -> tuple[int, dict[str, str]]:
        stub = PoseEstimationStub(self.channel)
        return await _status(stub.Estimate(pb.EstimateRequest(depth=DEPTH, options=OPTIONS)))

    async def oip_grpc(self) -> tuple[int, dict[str, str]]:
        stub = GRPCInferenceServiceStub(self.channel)
        tensor = oip.ModelInferRequest.InferInputTensor
        camera = np.array([240, 241, 16, 12], "<f4").tobytes()
        asked = oip.ModelInferRequest(
            model_name="hand",
            inputs=[
                tensor(name="depth", datatype="UINT16", shape=[19, 40]),
                tensor(name="intrinsics", datatype="FP32", shape=[4]),
            ],
            raw_input_contents=[RAW[: SIZE - len(camera)], camera],
        )
        return await _status(stub.ModelInfer(asked))

    async def stream(self) -> tuple[int, dict[str, str]]:
        frame = pb.Frame(sequence=1, depth=DEPTH)
        sent = [
            pb.EstimateStreamRequest(start=pb.StreamStart(options=OPTIONS)),
            pb.EstimateStreamRequest(frame=frame),
        ]
        (answer,) = [a async for a in PoseEstimationStub(self.channel).EstimateStream(iter(sent))]
        if answer.WhichOneof("result") == "pose":
            return 200, {}
        assert answer.error.code == "overloaded"
        return 429, {"retry-after": "1"} if answer.error.is_retryable else {}


async def _status(call: Any) -> tuple[int, dict[str, str]]:
    """The outcome of an RPC as REST would say it."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        metadata = dict(error.trailing_metadata() or ())
        status = 429 if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED else 500
        return status, {"retry-after": str(int(metadata["grpc-retry-pushback-ms"]) // 1000)}
    return 200, {}


@pytest.fixture
async def doors() -> AsyncIterator[Doors]:
    pipeline = FakePipeline()
    made = parts(pipeline, max_inflight_bytes=2 * SIZE)
    server = RpcServer(made, min_peak=0.3, host="127.0.0.1", port=0)
    port = await server.start()
    client = client_of(RestApp(made))
    async with client, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Doors(pipeline, made.inflight, client, channel)
    await server.stop(grace_s=0)


@pytest.mark.parametrize("door", ["rest", "oip_rest", "grpc", "oip_grpc", "stream"])
async def test_one_too_many_is_refused_at_every_door_until_another_is_answered(
    doors: Doors, door: str
) -> None:
    ask = getattr(doors, door)
    doors.pipeline.gate = asyncio.Event()
    first = [asyncio.ensure_future(ask()) for _ in range(2)]
    await until(lambda: len(doors.pipeline.calls) == 2)
    assert doors.inflight.held == 2 * SIZE
    status, headers = await asyncio.wait_for(ask(), 10)
    assert (status, headers["retry-after"]) == (429, "1")
    doors.pipeline.gate.set()
    assert [status for status, _ in await asyncio.gather(*first)] == [200, 200]
    await until(lambda: doors.inflight.held == 0)
    assert (await ask())[0] == 200


@pytest.mark.parametrize("door", ["rest", "oip_rest", "grpc", "oip_grpc", "stream"])
async def test_what_fails_gives_its_bytes_back(doors: Doors, door: str) -> None:
    doors.pipeline.error = OverloadedError("the queue is full")
    assert (await getattr(doors, door)())[0] == 429
    await until(lambda: doors.inflight.held == 0)


@pytest.mark.parametrize("door", ["grpc", "oip_grpc", "stream"])
async def test_who_leaves_gives_his_bytes_back(doors: Doors, door: str) -> None:
    doors.pipeline.gate = asyncio.Event()
    call = asyncio.ensure_future(getattr(doors, door)())
    await until(lambda: doors.inflight.held == SIZE)
    call.cancel()
    await until(lambda: doors.inflight.held == 0)


async def test_frames_that_wait_are_held_and_replaced_ones_are_not(doors: Doors) -> None:
    doors.pipeline.gate = asyncio.Event()
    call = PoseEstimationStub(doors.channel).EstimateStream()
    await call.write(pb.EstimateStreamRequest(start=pb.StreamStart(options=OPTIONS)))
    small = pb.DepthMap(data=RAW[:64], encoding=pb.ENCODING_RAW_U16_LE, width=8, height=4)
    await call.write(pb.EstimateStreamRequest(frame=pb.Frame(sequence=0, depth=small)))
    await until(lambda: len(doors.pipeline.calls) == 1)
    for sequence in range(1, 20):
        frame = pb.Frame(sequence=sequence, depth=small)
        await call.write(pb.EstimateStreamRequest(frame=frame))
    await call.done_writing()
    await until(lambda: doors.inflight.held == 2 * 64)
    doors.pipeline.gate.set()
    assert [a.sequence async for a in call][-1] == 19
    await until(lambda: doors.inflight.held == 0)


async def test_a_declared_length_that_does_not_fit_is_refused_unread() -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError("read")

    with pytest.raises(OverloadedError, match=r"hold 6 of at most 8 bytes, 3 more do not fit"):
        await read_body(receive, {"content-length": "3"}, Limits(), holding(6))


async def test_a_body_is_held_as_it_arrives_and_let_go_when_it_does_not_fit() -> None:
    inflight = holding(0)
    seen = []

    async def receive() -> dict[str, Any]:
        seen.append(inflight.held)
        return {"type": "http.request", "body": b"abc", "more_body": True}

    with pytest.raises(OverloadedError):
        await read_body(receive, {}, Limits(), inflight)
    assert (seen, inflight.held) == ([0, 3, 6], 0)


async def test_half_a_body_is_let_go_when_its_caller_hangs_up() -> None:
    inflight = holding(0)
    messages: list[dict[str, Any]] = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": b"abc", "more_body": True},
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop()

    with pytest.raises(ClientGoneError):
        await read_body(receive, {}, Limits(), inflight)
    assert inflight.held == 0


def test_the_bound_must_leave_room_for_one_body() -> None:
    with pytest.raises(InvalidFieldError, match="at least max_body_bytes = 16777216, got 1000"):
        build(Settings.read({"V2VPOSE_MAX_INFLIGHT_BYTES": "1000"}))


def holding(size: int) -> InflightBytes:
    inflight = InflightBytes(8)
    inflight.take(size)
    return inflight


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # the server side has no event to wait on
            await asyncio.sleep(0.005)
