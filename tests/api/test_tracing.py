"""Spans, as a collector on the loopback gets them from the real service."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.frames import CAMERA, sphere_frame
from tests.inline import serving
from tests.stores import write_tiny_store
from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.api.pb.pose_pb2_grpc import PoseEstimationStub
from v2vpose.app import Service

STAGES = ["decode", "locate", "queue", "refine", "voxelize", "forward", "peak", "aggregate"]
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
DEPTH = sphere_frame((10.0, 20.0, 500.0)).depth_mm.astype(np.uint16)
RAW = DEPTH.astype("<u2").tobytes()
OPTIONS = {
    "fx_px": CAMERA.fx_px, "fy_px": CAMERA.fy_px, "cx_px": CAMERA.cx_px, "cy_px": CAMERA.cy_px,
    "width": DEPTH.shape[1], "height": DEPTH.shape[0], "handedness": "right",
}  # fmt: skip
DEPTH_MAP = pb.DepthMap(
    data=RAW, encoding=pb.ENCODING_RAW_U16_LE, width=DEPTH.shape[1], height=DEPTH.shape[0]
)
CHOSEN = pb.EstimateOptions(
    intrinsics=pb.Intrinsics(
        fx_px=CAMERA.fx_px, fy_px=CAMERA.fy_px, cx_px=CAMERA.cx_px, cy_px=CAMERA.cy_px
    )
)


class Collector:
    """An OTLP receiver: what it was sent, by kind."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        told = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                assert self.path == "/v1/traces"
                told.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    async def named(self, name: str, count: int = 1) -> list[Span]:
        """Wait for that many spans of a name; its stages come before it."""
        async with asyncio.timeout(20):
            while True:
                found = [span for span in self.spans if span.name == name]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.02)

    def below(self, parent: Span) -> list[Span]:
        return [span for span in self.spans if span.parent_span_id == parent.span_id]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store")
    write_tiny_store(root, epochs=2)
    return root


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    made = Collector()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
async def traced(collector: Collector, store: Path) -> AsyncIterator[Service]:
    async with serving(store, otlp_endpoint=collector.url) as service:
        yield service


async def rest(service: Service, traceparent: str | None, body: bytes = RAW) -> httpx.Response:
    headers = {"content-type": "application/octet-stream", "x-request-id": "r-1"}
    if traceparent is not None:
        headers["traceparent"] = traceparent
    url = f"http://127.0.0.1:{service.http_port}/v1/estimate"
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(url, params=OPTIONS, content=body, headers=headers)


def values(span: Span) -> dict[str, str]:
    return {each.key: each.value.string_value for each in span.attributes}


def check_stages(collector: Collector, span: Span, began_ns: int) -> None:
    """The stages follow one another, inside the request."""
    stages = collector.below(span)
    assert [stage.name for stage in stages] == STAGES
    ends = [began_ns]
    for stage in stages:
        assert ends[-1] - 100_000 <= stage.start_time_unix_nano <= stage.end_time_unix_nano
        ends.append(stage.end_time_unix_nano)
    assert ends[-1] <= span.end_time_unix_nano
    forward = next(stage for stage in stages if stage.name == "forward")
    assert forward.end_time_unix_nano > forward.start_time_unix_nano


async def test_a_rest_request_is_a_child_of_its_caller(
    traced: Service, collector: Collector
) -> None:
    began_ns = time.time_ns()
    assert (await rest(traced, SAMPLED)).status_code == 200
    (span,) = await collector.named("estimate")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert span.kind == Span.SPAN_KIND_SERVER
    assert values(span) == {"v2vpose.request_id": "r-1", "v2vpose.code": "ok"}
    check_stages(collector, span, began_ns)
    resource = collector.requests[0].resource_spans[0].resource
    assert ("service.name", "v2vpose") in {
        (e.key, e.value.string_value) for e in resource.attributes
    }


async def test_without_a_caller_it_is_the_root_and_an_unsampled_caller_wants_none(
    traced: Service, collector: Collector
) -> None:
    await rest(traced, UNSAMPLED)
    await rest(traced, "nonsense")
    await rest(traced, None)
    spans = await collector.named("estimate", 2)
    assert [span.parent_span_id for span in spans] == [b"", b""]
    assert len({span.trace_id for span in spans} | {bytes.fromhex(TRACE)}) == 3
    assert len(collector.spans) == 2 * (1 + len(STAGES))


async def test_a_refusal_is_no_error_of_the_service(traced: Service, collector: Collector) -> None:
    assert (await rest(traced, SAMPLED, b"short")).status_code == 400
    (span,) = await collector.named("estimate")
    assert values(span)["v2vpose.code"] == "invalid_depth_map"
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert collector.below(span) == []


async def test_a_grpc_request_and_the_frames_of_a_stream(
    traced: Service, collector: Collector
) -> None:
    metadata = (("traceparent", SAMPLED),)
    frames = [
        pb.EstimateStreamRequest(
            start=pb.StreamStart(options=CHOSEN, on_backlog=pb.ON_BACKLOG_EVERY)
        ),
        *(pb.EstimateStreamRequest(frame=pb.Frame(sequence=i, depth=DEPTH_MAP)) for i in range(2)),
    ]
    began_ns = time.time_ns()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{traced.grpc_port}") as channel:
        stub = PoseEstimationStub(channel)
        asked = pb.EstimateRequest(depth=DEPTH_MAP, options=CHOSEN)
        await stub.Estimate(asked, metadata=metadata)
        answers = [a async for a in stub.EstimateStream(iter(frames), metadata=metadata)]
    assert [a.WhichOneof("result") for a in answers] == ["pose", "pose"]
    (unary,) = await collector.named("rpc_estimate")
    check_stages(collector, unary, began_ns)
    (stream,) = await collector.named("rpc_stream")
    for span in (unary, stream):
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    seen = collector.below(stream)
    assert [span.name for span in seen] == ["rpc_stream_frame"] * 2
    for span in seen:
        assert {stage.name for stage in collector.below(span)} == set(STAGES)


async def test_requests_at_once_keep_their_stages_apart(
    traced: Service, collector: Collector
) -> None:
    await asyncio.gather(*(rest(traced, None) for _ in range(8)))
    for span in await collector.named("estimate", 8):
        assert [stage.name for stage in collector.below(span)] == STAGES
        assert {stage.trace_id for stage in collector.below(span)} == {span.trace_id}


async def test_a_dead_collector_costs_no_answer(store: Path) -> None:
    async with serving(store, otlp_endpoint="http://127.0.0.1:9") as service:
        assert (await rest(service, SAMPLED)).status_code == 200
