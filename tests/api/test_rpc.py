"""gRPC on real ports, over a fake pipeline."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo  # type: ignore[import-untyped]
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status  # type: ignore[import-untyped]

from tests.api.conftest import parts
from tests.api.decode.makers import png
from tests.api.fakes import KEYPOINTS_MM, NAMES, Call, FakePipeline, with_peak
from v2vpose.api.access import Keys
from v2vpose.api.decode import Encoding, encode_frame
from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.api.pb.pose_pb2_grpc import PoseEstimationStub
from v2vpose.api.problems import INTERNAL_DETAIL
from v2vpose.api.rpc import SERVICE_NAME
from v2vpose.api.rpc_server import RpcServer
from v2vpose.errors import (
    InvalidFieldError,
    NothingToEstimateError,
    OverloadedError,
    PoseError,
    UnavailableError,
)
from v2vpose.serving.ports import Priority
from v2vpose.values import FoundBy, Hint, Pose

CODE = grpc.StatusCode
DEPTH = np.full((24, 32), 500, np.uint16)
CAMERA = pb.Intrinsics(fx_px=240, fy_px=241, cx_px=16, cy_px=12)
OPTIONS = pb.EstimateOptions(intrinsics=CAMERA)
PNG = pb.DepthMap(data=png(DEPTH), encoding=pb.ENCODING_PNG16)
REQUEST = pb.EstimateRequest(depth=PNG, options=OPTIONS)


@dataclass
class Rpc:
    """A server, the fake behind it, and a client."""

    pipeline: FakePipeline
    server: RpcServer
    port: int
    channel: Any
    stub: Any
    metrics: Callable[[], str]


@pytest.fixture
async def rpc() -> AsyncIterator[Rpc]:
    async for made in _serve(Keys(None, None)):
        yield made


@pytest.fixture
async def guarded() -> AsyncIterator[Rpc]:
    async for made in _serve(Keys("secret", None)):
        yield made


async def _serve(keys: Keys) -> AsyncIterator[Rpc]:
    from prometheus_client import generate_latest

    pipeline = FakePipeline()
    made = parts(pipeline, keys=keys)
    server = RpcServer(made, min_peak=0.3, host="127.0.0.1", port=0)
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = PoseEstimationStub(channel)
        yield Rpc(
            pipeline, server, port, channel, stub,
            lambda: generate_latest(made.telemetry.registry).decode(),
        )  # fmt: skip
    await server.stop(grace_s=0)


async def refusal(call: Any) -> tuple[grpc.StatusCode, str, ErrorInfo, list[Any]]:
    """The status of a call that fails, its text, its ErrorInfo and what else came with it."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    status = rpc_status.from_call(_Call(error))
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert status.message == error.details()
    return error.code(), error.details() or "", info, list(status.details[1:])


class _Call:
    """An AioRpcError as `rpc_status` wants to see a call."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code, self.details = error.code, error.details
        self._trailing = error.trailing_metadata()

    def trailing_metadata(self) -> Any:
        return tuple(self._trailing)


async def test_a_depth_map_comes_back_as_named_keypoints(rpc: Rpc) -> None:
    call = rpc.stub.Estimate(REQUEST, metadata=(("x-request-id", "r-1"),))
    pose = (await call).pose
    assert [k.name for k in pose.keypoints] == list(NAMES)
    found = [[k.x_mm, k.y_mm, k.z_mm] for k in pose.keypoints]
    np.testing.assert_allclose(found, KEYPOINTS_MM, atol=0.001)
    assert (pose.model, pose.version, pose.request_id) == ("hand", "1", "r-1")
    assert ("x-request-id", "r-1") in list(await call.trailing_metadata())


@pytest.mark.parametrize(
    "encoding", [e for e in Encoding if e is not Encoding.ROS_COMPRESSED_DEPTH_32FC1]
)
async def test_every_encoding_reaches_the_pipeline_alike(rpc: Rpc, encoding: Encoding) -> None:
    is_metres = encoding is Encoding.RAW_F32_LE_METRES
    depth = pb.DepthMap(
        data=encode_frame(DEPTH / 1000 if is_metres else DEPTH, encoding),
        encoding=pb.Encoding.Value(f"ENCODING_{encoding}"),
        width=32,
        height=24,
    )
    await rpc.stub.Estimate(pb.EstimateRequest(depth=depth, options=OPTIONS))
    np.testing.assert_allclose(rpc.pipeline.calls[0].frame.depth_mm, DEPTH, atol=1e-3)


async def test_the_callers_deadline_travels_with_the_request(rpc: Rpc) -> None:
    before_s = time.monotonic()
    await rpc.stub.Estimate(REQUEST, timeout=5)
    await rpc.stub.Estimate(REQUEST)
    named, unnamed = (call.deadline_s for call in rpc.pipeline.calls)
    assert named is not None
    assert unnamed is not None
    assert 4 < named - before_s < 6
    assert 29 < unnamed - before_s < 35


async def test_a_deadline_that_passes_cancels_the_work(rpc: Rpc) -> None:
    rpc.pipeline.gate = asyncio.Event()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rpc.stub.Estimate(REQUEST, timeout=0.3)
    assert caught.value.code() is CODE.DEADLINE_EXCEEDED
    await _until(lambda: rpc.pipeline.cancelled == 1)


async def test_a_caller_who_hangs_up_cancels_the_work(rpc: Rpc) -> None:
    rpc.pipeline.gate = asyncio.Event()
    call = rpc.stub.Estimate(REQUEST)
    await asyncio.wait([asyncio.ensure_future(rpc.pipeline.started.wait())], timeout=10)
    call.cancel()
    await _until(lambda: rpc.pipeline.cancelled == 1)


@pytest.mark.parametrize(
    ("request_", "code", "reason", "text"),
    [
        (pb.EstimateRequest(depth=PNG), CODE.INVALID_ARGUMENT, "INVALID_FIELD", "fx_px, fy_px,"),
        (pb.EstimateRequest(options=OPTIONS), CODE.INVALID_ARGUMENT, "UNSUPPORTED_ENCODING",
         "found UNSPECIFIED"),
        (pb.EstimateRequest(options=OPTIONS, depth=pb.DepthMap(data=PNG.data[:60], encoding=1)),  # type: ignore[arg-type]
         CODE.INVALID_ARGUMENT, "INVALID_DEPTH_MAP", "the PNG is truncated"),
        (pb.EstimateRequest(options=OPTIONS, depth=pb.DepthMap(data=bytes(100_001), encoding=1)),  # type: ignore[arg-type]
         CODE.RESOURCE_EXHAUSTED, "PAYLOAD_TOO_LARGE", "more than 100000 bytes"),
        (pb.EstimateRequest(depth=PNG, options=pb.EstimateOptions(intrinsics=CAMERA, model="foot")),
         CODE.NOT_FOUND, "UNKNOWN_MODEL", "no model 'foot'"),
    ],
)  # fmt: skip
async def test_each_bad_request_has_its_status_reason_and_text(
    rpc: Rpc, request_: pb.EstimateRequest, code: grpc.StatusCode, reason: str, text: str
) -> None:
    found, detail, info, more = await refusal(rpc.stub.Estimate(request_))
    assert (found, info.reason, info.domain) == (code, reason, "v2vpose")
    assert text in detail
    assert re.fullmatch("[0-9a-f]{32}", info.metadata["request_id"])
    assert not more


async def test_what_may_succeed_later_says_when(rpc: Rpc) -> None:
    rpc.pipeline.error = OverloadedError("the queue is full")
    code, text, info, more = await refusal(rpc.stub.Estimate(REQUEST))
    assert (code, text, info.reason) == (
        CODE.RESOURCE_EXHAUSTED, "the queue is full", "OVERLOADED",
    )  # fmt: skip
    retry = RetryInfo()
    assert more[0].Unpack(retry)
    assert retry.retry_delay.seconds == 1


async def test_our_bug_is_internal_and_its_text_stays_in_the_log(
    rpc: Rpc, caplog: pytest.LogCaptureFixture
) -> None:
    rpc.pipeline.error = RuntimeError("the secret of the house")
    code, text, info, _ = await refusal(rpc.stub.Estimate(REQUEST))
    assert (code, text, info.reason) == (CODE.INTERNAL, INTERNAL_DETAIL, "INTERNAL")
    (trace,) = [r for r in caplog.records if r.exc_info]
    assert "the secret of the house" in str(trace.exc_info)


async def test_a_message_over_the_limit_is_refused_by_its_size(rpc: Rpc) -> None:
    huge = pb.EstimateRequest(depth=pb.DepthMap(data=bytes(200_000)), options=OPTIONS)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rpc.stub.Estimate(huge)
    assert caught.value.code() is CODE.RESOURCE_EXHAUSTED


async def test_keys_guard_every_method_but_health(guarded: Rpc) -> None:
    for call in (
        guarded.stub.Estimate(REQUEST),
        guarded.stub.ListModels(pb.ListModelsRequest()),
    ):
        code, _, info, _ = await refusal(call)
        assert (code, info.reason) == (CODE.UNAUTHENTICATED, "UNAUTHENTICATED")
    code, _, _, _ = await refusal(_first(guarded.stub.EstimateStream(_sent(start()))))
    assert code is CODE.UNAUTHENTICATED
    key = (("authorization", "Bearer secret"),)
    assert (await guarded.stub.Estimate(REQUEST, metadata=key)).pose.model == "hand"


async def test_models_are_listed(rpc: Rpc) -> None:
    (model,) = (await rpc.stub.ListModels(pb.ListModelsRequest())).models
    assert (model.model, model.ready) == ("hand", True)
    assert [keypoint.name for keypoint in model.keypoints] == list(NAMES)


async def test_health_follows_the_pipeline(rpc: Rpc) -> None:
    health = health_pb2_grpc.HealthStub(rpc.channel)
    request = health_pb2.HealthCheckRequest(service=SERVICE_NAME)
    serving = health_pb2.HealthCheckResponse
    assert (await health.Check(request)).status == serving.SERVING
    watch = health.Watch(request)
    assert (await watch.read()).status == serving.SERVING
    rpc.pipeline.ready = False
    assert (await watch.read()).status == serving.NOT_SERVING
    watch.cancel()


async def test_reflection_names_the_services(rpc: Rpc) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(rpc.channel)
    call = stub.ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    )
    names = {s.name for s in (await call.read()).list_services_response.service}
    assert {"v2vpose.v1.PoseEstimation", "grpc.health.v1.Health"} <= names


async def test_one_success_and_one_failure_are_counted_exactly(rpc: Rpc) -> None:
    await rpc.stub.Estimate(REQUEST)
    await refusal(rpc.stub.Estimate(pb.EstimateRequest(depth=PNG)))
    counts = re.findall(r"^v2vpose_requests_total\{(.*)\} (.*)$", rpc.metrics(), re.MULTILINE)
    assert sorted(counts) == [
        ('code="invalid_field",route="rpc_estimate"', "1.0"),
        ('code="ok",route="rpc_estimate"', "1.0"),
    ]


async def test_a_port_in_use_is_refused_by_name(rpc: Rpc) -> None:
    other = RpcServer(parts(FakePipeline()), min_peak=0.3, host="127.0.0.1", port=rpc.port)
    with pytest.raises(InvalidFieldError, match=f"cannot listen on 127.0.0.1:{rpc.port}"):
        await other.start()


# Streams


def start(**more: Any) -> pb.EstimateStreamRequest:
    return pb.EstimateStreamRequest(start=pb.StreamStart(options=OPTIONS, **more))


def frame(sequence: int, depth: pb.DepthMap = PNG) -> pb.EstimateStreamRequest:
    return pb.EstimateStreamRequest(
        frame=pb.Frame(sequence=sequence, capture_time_ns=1000 * sequence, depth=depth)
    )


async def _sent(*requests: pb.EstimateStreamRequest) -> AsyncIterator[pb.EstimateStreamRequest]:
    for request in requests:
        yield request


async def _first(call: Any) -> Any:
    async for answer in call:
        return answer
    return None


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # the server side has no event to wait on
            await asyncio.sleep(0.005)


async def test_every_frame_of_a_stream_is_answered_in_order(rpc: Rpc) -> None:
    requests = _sent(start(on_backlog=pb.ON_BACKLOG_EVERY), *(frame(i) for i in range(50)))
    answers = [answer async for answer in rpc.stub.EstimateStream(requests)]
    assert [a.sequence for a in answers] == list(range(50))
    assert [a.capture_time_ns for a in answers] == [1000 * i for i in range(50)]
    assert {a.dropped_total for a in answers} == {0}
    assert all(a.pose.keypoints for a in answers)
    assert answers[7].pose.request_id.endswith("-7")
    assert all(call.priority is Priority.STREAM for call in rpc.pipeline.calls)


async def test_several_targets_come_as_a_list(rpc: Rpc) -> None:
    hint = pb.Hint(reference_point_mm=pb.Point(x_mm=1, y_mm=2, z_mm=400))
    options = pb.EstimateOptions(intrinsics=CAMERA, hints=[hint] * 3)
    answer = await rpc.stub.Estimate(pb.EstimateRequest(depth=PNG, options=options))
    assert [t.WhichOneof("result") for t in answer.targets] == ["pose", "error", "pose"]
    assert [len(t.pose.keypoints) for t in answer.targets] == [len(NAMES), 0, len(NAMES)]
    assert answer.targets[1].error.code == "nothing_to_estimate"
    assert not answer.HasField("pose")
    assert rpc.pipeline.calls[0].options.hints == (Hint((1.0, 2.0, 400.0)),) * 3


@pytest.mark.parametrize("more", [{"targets": 2}, {"hints": [pb.Hint(range_mm={"far_mm": 9})]}])
async def test_a_stream_follows_one_target(rpc: Rpc, more: dict[str, Any]) -> None:
    options = pb.EstimateOptions(intrinsics=CAMERA, **more)
    begin = pb.EstimateStreamRequest(start=pb.StreamStart(options=options))
    code, text, *_ = await refusal(_first(rpc.stub.EstimateStream(_sent(begin))))
    assert code is CODE.INVALID_ARGUMENT
    assert "a stream follows one target" in text


async def test_a_bulk_stream_lets_others_go_first(rpc: Rpc) -> None:
    options = pb.EstimateOptions(intrinsics=CAMERA, priority=pb.PRIORITY_BULK)
    begin = pb.EstimateStreamRequest(start=pb.StreamStart(options=options))
    assert await _first(rpc.stub.EstimateStream(_sent(begin, frame(1))))
    await rpc.stub.Estimate(pb.EstimateRequest(depth=PNG, options=options))
    assert [call.priority for call in rpc.pipeline.calls] == [Priority.BULK] * 2


async def test_a_newer_frame_replaces_the_waiting_one_and_the_answer_counts_it(rpc: Rpc) -> None:
    rpc.pipeline.gate = asyncio.Event()
    call = rpc.stub.EstimateStream()
    await call.write(start())
    await call.write(frame(0))
    await asyncio.wait_for(rpc.pipeline.started.wait(), 10)
    for i in range(1, 6):
        await call.write(frame(i))
    await call.done_writing()
    await asyncio.sleep(0.2)  # the server reads on while frame 0 is being worked on
    rpc.pipeline.gate.set()
    answers = [answer async for answer in call]
    assert [a.sequence for a in answers] == [0, 5]
    assert sum(a.dropped for a in answers) == answers[-1].dropped_total == 4
    await _until(lambda: "v2vpose_stream_frames_dropped_total 4.0" in rpc.metrics())


async def test_when_every_frame_counts_the_sender_is_held_back(rpc: Rpc) -> None:
    rpc.pipeline.gate = asyncio.Event()
    raw = pb.DepthMap(data=bytes(90_000), encoding=pb.ENCODING_RAW_U16_LE, width=450, height=100)
    call = rpc.stub.EstimateStream()
    await call.write(start(on_backlog=pb.ON_BACKLOG_EVERY))

    async def send() -> None:
        for i in range(200):
            await call.write(frame(i, raw))
        await call.done_writing()

    sender = asyncio.ensure_future(send())
    done, _ = await asyncio.wait([sender], timeout=0.5)
    assert not done  # 18 MB do not fit into windows and buffers
    rpc.pipeline.gate.set()
    assert [answer.sequence async for answer in call] == list(range(200))
    await sender


async def test_a_frame_that_fails_has_its_own_error_and_the_stream_goes_on(rpc: Rpc) -> None:
    broken = pb.DepthMap(data=b"nonsense", encoding=pb.ENCODING_PNG16)
    requests = _sent(start(on_backlog=pb.ON_BACKLOG_EVERY), frame(1), frame(2, broken), frame(3))
    answers = [answer async for answer in rpc.stub.EstimateStream(requests)]
    assert [a.WhichOneof("result") for a in answers] == ["pose", "error", "pose"]
    assert answers[1].error.code == "invalid_depth_map"
    assert "expected a PNG file" in answers[1].error.detail
    assert not answers[1].error.is_retryable
    text = rpc.metrics()
    assert 'v2vpose_requests_total{code="ok",route="rpc_stream_frame"} 2.0' in text
    assert 'v2vpose_requests_total{code="invalid_depth_map",route="rpc_stream_frame"} 1.0' in text


@pytest.mark.parametrize(
    ("requests", "text"),
    [
        ([], "the first message of a stream must be its start"),
        ([frame(1)], "the first message of a stream must be its start"),
        ([pb.EstimateStreamRequest(start=pb.StreamStart())], "fx_px, fy_px, cx_px, cy_px missing"),
        ([start(), start()], "after the first message of a stream come frames only"),
    ],
)
async def test_a_stream_that_begins_wrong_is_refused(
    rpc: Rpc, requests: list[pb.EstimateStreamRequest], text: str
) -> None:
    code, detail, _, _ = await refusal(_first(rpc.stub.EstimateStream(_sent(*requests))))
    assert (code, detail) == (CODE.INVALID_ARGUMENT, detail)
    assert text in detail


async def test_a_stream_follows_the_last_pose(rpc: Rpc) -> None:
    requests = _sent(start(on_backlog=pb.ON_BACKLOG_EVERY), frame(1), frame(2))
    answers = [answer async for answer in rpc.stub.EstimateStream(requests)]
    first, second = rpc.pipeline.calls
    assert first.options.hint.reference_point_mm is None
    midpoint = (KEYPOINTS_MM.min(axis=0) + KEYPOINTS_MM.max(axis=0)) / 2
    np.testing.assert_allclose(second.options.hint.reference_point_mm or (), midpoint)
    found_by = [a.pose.reference_point_mm.found_by for a in answers]
    assert found_by == [pb.FOUND_BY_DETECTOR, pb.FOUND_BY_TRACKING]


async def test_a_stream_may_localise_in_every_frame(rpc: Rpc) -> None:
    first = start(on_backlog=pb.ON_BACKLOG_EVERY, localise_every_frame=True)
    async for _ in rpc.stub.EstimateStream(_sent(first, frame(1), frame(2))):
        pass
    assert [c.options.hint.reference_point_mm for c in rpc.pipeline.calls] == [None, None]


async def test_an_unsure_pose_is_localised_again_in_the_same_frame(rpc: Rpc) -> None:
    def unsure_when_tracked(pose: Pose, call: Call) -> Pose:
        return with_peak(pose, 0.1) if call.options.hint.reference_point_mm else pose

    rpc.pipeline.change = unsure_when_tracked
    requests = _sent(start(on_backlog=pb.ON_BACKLOG_EVERY), frame(1), frame(2), frame(3))
    answers = [answer async for answer in rpc.stub.EstimateStream(requests)]
    is_tracked = [bool(c.options.hint.reference_point_mm) for c in rpc.pipeline.calls]
    assert is_tracked == [False, True, False, True, False]
    assert {a.pose.reference_point_mm.found_by for a in answers} == {pb.FOUND_BY_DETECTOR}


async def test_a_target_that_left_is_looked_for_everywhere(rpc: Rpc) -> None:
    def gone_when_tracked(pose: Pose, call: Call) -> Pose:
        if call.options.hint.reference_point_mm:
            raise NothingToEstimateError("empty cube")
        return replace(
            pose, reference_point=replace(pose.reference_point, found_by=FoundBy.DETECTOR)
        )

    rpc.pipeline.change = gone_when_tracked
    requests = _sent(start(on_backlog=pb.ON_BACKLOG_EVERY), frame(1), frame(2))
    answers = [answer async for answer in rpc.stub.EstimateStream(requests)]
    assert [a.WhichOneof("result") for a in answers] == ["pose", "pose"]
    assert len(rpc.pipeline.calls) == 3


SECOND_NS = 10**9
RIGHT = np.array([1.0, 0.0, 0.0])


def taken(sequence: int, depth: pb.DepthMap = PNG) -> pb.EstimateStreamRequest:
    """A frame of a 30 Hz camera."""
    time_ns = SECOND_NS + sequence * SECOND_NS // 30
    return pb.EstimateStreamRequest(
        frame=pb.Frame(sequence=sequence, capture_time_ns=time_ns, depth=depth)
    )


def moving(step_mm: float) -> Callable[[Pose, Call], Pose]:
    """Every pose is `step_mm` farther right than the one before."""
    shift_mm = iter(np.arange(100) * step_mm)

    def change(pose: Pose, _: Call) -> Pose:
        return replace(pose, keypoints_mm=pose.keypoints_mm + next(shift_mm) * RIGHT)

    return change


def wrists_mm(answers: list[Any]) -> list[float]:
    return [a.pose.keypoints[0].x_mm for a in answers]


async def test_a_stream_is_smoothed_if_it_asks_and_follows_what_was_estimated(rpc: Rpc) -> None:
    every, smooth = pb.ON_BACKLOG_EVERY, pb.Smoothing()
    rpc.pipeline.change = moving(10)
    plain = [
        a
        async for a in rpc.stub.EstimateStream(
            _sent(start(on_backlog=every), *(taken(i) for i in range(4)))
        )
    ]
    assert wrists_mm(plain) == [0, 10, 20, 30]
    rpc.pipeline.change = moving(10)
    requests = _sent(start(on_backlog=every, smoothing=smooth), *(taken(i) for i in range(4)))
    answers = [a async for a in rpc.stub.EstimateStream(requests)]
    found = wrists_mm(answers)
    assert found[0] == 0
    assert all(0 < smoothed < raw for smoothed, raw in zip(found[1:], (10, 20, 30), strict=True))
    hints = [call.options.hint.reference_point_mm for call in rpc.pipeline.calls]
    assert hints[4:] == hints[:4]


async def test_two_smoothed_streams_do_not_mix(rpc: Rpc) -> None:
    rpc.pipeline.change = lambda pose, call: replace(
        pose, keypoints_mm=pose.keypoints_mm + call.frame.depth_mm[0, 0] * RIGHT
    )
    begin = start(on_backlog=pb.ON_BACKLOG_EVERY, smoothing=pb.Smoothing())
    other = pb.DepthMap(data=png(DEPTH + 300), encoding=pb.ENCODING_PNG16)
    calls = [rpc.stub.EstimateStream() for _ in range(2)]
    for call in calls:
        await call.write(begin)
    for i in range(3):
        for call, depth, x_mm in zip(calls, (PNG, other), (500, 800), strict=True):
            await call.write(taken(i, depth))
            assert wrists_mm([await call.read()]) == [x_mm]
    for call in calls:
        await call.done_writing()


async def test_a_lost_target_ends_smoothing(rpc: Rpc) -> None:
    places_mm = iter([0.0, None, None, 50.0])

    def change(pose: Pose, _: Call) -> Pose:
        if (x_mm := next(places_mm)) is None:
            raise NothingToEstimateError("gone")
        return replace(pose, keypoints_mm=pose.keypoints_mm + x_mm * RIGHT)

    rpc.pipeline.change = change
    begin = start(on_backlog=pb.ON_BACKLOG_EVERY, smoothing=pb.Smoothing())
    requests = _sent(begin, taken(0), taken(1), taken(2))
    answers = [a async for a in rpc.stub.EstimateStream(requests)]
    assert answers[1].error.code == "nothing_to_estimate"
    assert wrists_mm([answers[0], answers[2]]) == [0, 50]


async def test_a_frame_without_a_time_cannot_be_smoothed(rpc: Rpc) -> None:
    requests = _sent(
        start(on_backlog=pb.ON_BACKLOG_EVERY, smoothing=pb.Smoothing()), frame(0), frame(1)
    )
    first, second = [a async for a in rpc.stub.EstimateStream(requests)]
    assert first.error.code == "invalid_field"
    assert "capture_time_ns: expected a time to smooth by, found 0" in first.error.detail
    assert second.HasField("pose")


async def test_smoothing_out_of_range_is_refused_at_the_start(rpc: Rpc) -> None:
    begin = start(smoothing=pb.Smoothing(min_cutoff_hz=-1))
    code, detail, info, _ = await refusal(_first(rpc.stub.EstimateStream(_sent(begin))))
    assert (code, info.reason) == (CODE.INVALID_ARGUMENT, "INVALID_FIELD")
    assert detail == "min_cutoff_hz must be > 0, got -1.0"


async def test_the_end_of_the_service_ends_streams_after_their_frames(rpc: Rpc) -> None:
    call = rpc.stub.EstimateStream()
    await call.write(start())
    await call.write(frame(1))
    assert (await call.read()).sequence == 1
    assert "v2vpose_stream_active 1.0" in rpc.metrics()
    stopping = asyncio.ensure_future(rpc.server.stop(grace_s=10))
    code, text, info, _ = await refusal(call.read())
    assert (code, info.reason) == (CODE.UNAVAILABLE, "UNAVAILABLE")
    assert "open the stream again" in text
    await asyncio.wait_for(stopping, 5)  # and the grace is not waited out
    assert "v2vpose_stream_active 0.0" in rpc.metrics()


async def test_a_client_that_leaves_a_stream_leaves_nothing_behind(rpc: Rpc) -> None:
    rpc.pipeline.gate = asyncio.Event()
    call = rpc.stub.EstimateStream()
    await call.write(start())
    await call.write(frame(1))
    await asyncio.wait_for(rpc.pipeline.started.wait(), 10)
    call.cancel()
    await _until(lambda: rpc.pipeline.cancelled == 1)
    await _until(lambda: "v2vpose_stream_active 0.0" in rpc.metrics())


async def test_an_engine_that_cannot_answer_is_a_retryable_error_of_the_frame(rpc: Rpc) -> None:
    error: PoseError = UnavailableError("below quorum")
    rpc.pipeline.error = error
    (answer,) = [a async for a in rpc.stub.EstimateStream(_sent(start(), frame(1)))]
    assert (answer.error.code, answer.error.is_retryable) == ("unavailable", True)
