"""The Open Inference Protocol, over REST and on a real gRPC port, before a fake pipeline."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest

from tests.api.conftest import Rest, parts
from tests.api.fakes import CONFIDENCE, KEYPOINTS_MM, FakePipeline
from v2vpose.api.pb import open_inference_pb2 as pb
from v2vpose.api.pb.open_inference_pb2_grpc import GRPCInferenceServiceStub
from v2vpose.api.rpc_server import RpcServer
from v2vpose.errors import OverloadedError, UnavailableError
from v2vpose.values import Handedness, Hint, Intrinsics

DEPTH = (np.arange(24 * 32).reshape(24, 32) + 400).astype(np.uint16)
CAMERA = [240.0, 241.0, 16.0, 12.0]
INFER = "/v2/models/hand/infer"
LENGTH = "inference-header-content-length"


def json_request(**more: Any) -> dict[str, Any]:
    return {
        "inputs": [
            {"name": "depth", "shape": [24, 32], "datatype": "UINT16", "data": DEPTH.tolist()},
            {"name": "intrinsics", "shape": [4], "datatype": "FP32", "data": CAMERA},
        ],
        **more,
    }


def binary_request(**more: Any) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of a request with a raw depth map."""
    raw, camera = DEPTH.tobytes(), np.array(CAMERA, "<f4").tobytes()
    request = json_request(**more)
    for each, content in zip(request["inputs"], (raw, camera), strict=True):
        del each["data"]
        each["parameters"] = {"binary_data_size": len(content)}
    header = json.dumps(request).encode()
    return header + raw + camera, {LENGTH: str(len(header))}


async def test_a_json_request_is_answered_in_json_under_its_id(rest: Rest) -> None:
    response = await rest.client.post(INFER, json=json_request(id="7"))
    assert response.status_code == 200, response.text
    answer = response.json()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("7", "hand", "1")
    assert answer["parameters"] == {"degraded": False, "handedness": "right"}
    keypoints, confidence = answer["outputs"]
    assert (keypoints["name"], keypoints["shape"]) == ("keypoints_mm", [3, 3])
    np.testing.assert_allclose(keypoints["data"], KEYPOINTS_MM.ravel(), atol=1e-4)
    np.testing.assert_allclose(confidence["data"], CONFIDENCE, atol=1e-6)
    frame = rest.pipeline.calls[0].frame
    np.testing.assert_array_equal(frame.depth_mm, DEPTH)
    assert frame.intrinsics == Intrinsics(
        fx_px=CAMERA[0], fy_px=CAMERA[1], cx_px=CAMERA[2], cy_px=CAMERA[3]
    )


async def test_binary_tensors_follow_the_json_both_ways(rest: Rest) -> None:
    body, headers = binary_request(
        outputs=[{"name": "confidence", "parameters": {"binary_data": True}}]
    )
    response = await rest.client.post(INFER, content=body, headers=headers)
    assert response.status_code == 200, response.text
    header_bytes = int(response.headers[LENGTH])
    (output,) = json.loads(response.content[:header_bytes])["outputs"]
    assert output["parameters"] == {"binary_data_size": 12}
    found = np.frombuffer(response.content[header_bytes:], "<f4")
    np.testing.assert_allclose(found, CONFIDENCE, atol=1e-6)
    np.testing.assert_array_equal(rest.pipeline.calls[0].frame.depth_mm, DEPTH)


async def test_the_fields_of_an_estimate_travel_as_parameters(rest: Rest) -> None:
    given = {
        "reference_point_mm": "1,2,400", "handedness": "left", "epochs": "2",
        "depth_unit_mm": 0.5, "timeout": 2_000_000,
    }  # fmt: skip
    response = await rest.client.post(INFER, json=json_request(parameters=given))
    assert response.status_code == 200, response.text
    call = rest.pipeline.calls[0]
    assert call.options.hint == Hint(reference_point_mm=(1, 2, 400))
    assert (call.options.handedness, call.options.epochs) == (Handedness.LEFT, (2,))
    np.testing.assert_array_equal(call.frame.depth_mm, DEPTH * np.float32(0.5))
    one = call.deadline_s
    await rest.client.post(INFER, json=json_request())
    other = rest.pipeline.calls[1].deadline_s
    assert one is not None
    assert other is not None
    assert 20 < other - one < 30  # 2 s against the service's 30 s


async def test_float_depth_is_taken_and_nan_is_no_reading(rest: Rest) -> None:
    body, headers = binary_request()
    floats = DEPTH.astype("<f4")
    floats[0, 0] = np.nan
    text = body[: int(headers[LENGTH])].replace(b"UINT16", b"FP32").replace(b"1536", b"3072")
    content = text + floats.tobytes() + body[-16:]
    response = await rest.client.post(INFER, content=content, headers={LENGTH: str(len(text))})
    assert response.status_code == 200, response.text
    found = rest.pipeline.calls[0].frame.depth_mm
    assert found[0, 0] == 0
    np.testing.assert_array_equal(found[1:], DEPTH[1:])


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"inputs": []}, 422, "inputs depth and intrinsics, found none"),
        ({"parameters": {"colour": 1}}, 422, "unknown parameter colour"),
        ({"parameters": {"timeout": -1}}, 422, "timeout must be microseconds > 0, got -1"),
        ({"outputs": [{"name": "joints"}]}, 422, "no output 'joints'"),
        ({"inputs": [{"name": "depth", "shape": [1], "datatype": "UINT16", "data": ["x"]}]},
         422, "depth: expected numbers"),
        ({"inputs": [{"name": "depth", "shape": [1], "datatype": "UINT16", "data": [-1]}]},
         422, "depth: expected whole numbers 0..65535, found -1..-1"),
        ({"inputs": [{"name": "depth", "shape": [1], "datatype": "BYTES", "data": [1]}]},
         415, "depth: expected datatype UINT16, FP32, FP64, found 'BYTES'"),
        ({"inputs": [{"name": "depth"}]}, 422, "inputs.0.datatype: Field required"),
    ],
)  # fmt: skip
async def test_errors_have_the_protocols_shape(
    rest: Rest, change: dict[str, Any], status: int, text: str
) -> None:
    response = await rest.client.post(INFER, json={**json_request(), **change})
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    assert text in response.json()["error"]
    assert response.status_code == status


async def test_a_depth_map_of_another_size_than_it_says_is_refused(rest: Rest) -> None:
    request = json_request()
    request["inputs"][0]["shape"] = [24, 33]
    response = await rest.client.post(INFER, json=request)
    assert (response.status_code, response.json()) == (
        400, {"error": "33 x 24 raw 16-bit pixels are 1584 bytes, found 1536"},
    )  # fmt: skip
    request["inputs"][0]["shape"] = [1, 24, 32]
    response = await rest.client.post(INFER, json=request)
    assert "expected shape [rows, cols], found [1, 24, 32]" in response.json()["error"]


@pytest.mark.parametrize(("length", "tail"), [("99999", b""), ("x", b""), (None, b"more")])
async def test_a_header_length_that_does_not_fit_is_refused(
    rest: Rest, length: str | None, tail: bytes
) -> None:
    body, headers = binary_request()
    headers = headers if length is None else {LENGTH: length}
    response = await rest.client.post(INFER, content=body + tail, headers=headers)
    assert response.status_code == 422
    assert ("follow the last" if length is None else LENGTH) in response.json()["error"]


async def test_a_full_queue_says_when_to_come_back(rest: Rest) -> None:
    rest.pipeline.error = OverloadedError("full")
    response = await rest.client.post(INFER, json=json_request())
    assert (response.status_code, response.json()) == (429, {"error": "full"})
    assert response.headers["retry-after"] == "1"


async def test_metadata_and_readiness(rest: Rest) -> None:
    get = rest.client.get
    assert (await get("/v2")).json()["extensions"] == ["binary_tensor_data"]
    assert (await get("/v2/health/live")).json() == {"live": True}
    for path in ("/v2/models/hand", "/v2/models/hand/versions/1"):
        metadata = (await get(path)).json()
        assert metadata["versions"] == ["1"]
        assert metadata["outputs"][0] == {
            "name": "keypoints_mm", "datatype": "FP32", "shape": [3, 3],
        }  # fmt: skip
    ready = ("/v2/health/ready", "/v2/models/hand/ready", "/v2/models/hand/versions/1/ready")
    for path in ready:
        assert (await get(path)).status_code == 200
    unknown = await get("/v2/models/foot/ready")
    assert (unknown.status_code, set(unknown.json())) == (404, {"error"})
    rest.pipeline.ready = False
    for path in ready:
        assert (await get(path)).status_code == 503


async def test_the_key_is_needed_here_too(rest: Rest) -> None:
    client = rest.with_keys("secret", None)
    refused = await client.post(INFER, json=json_request())
    assert (refused.status_code, set(refused.json())) == (401, {"error"})
    let_in = await client.post(INFER, json=json_request(), headers={"x-api-key": "secret"})
    assert let_in.status_code == 200
    assert (await client.get("/v2/health/ready")).status_code == 200


@dataclass
class Rpc:
    pipeline: FakePipeline
    server: RpcServer
    stub: Any


@pytest.fixture
async def rpc() -> AsyncIterator[Rpc]:
    pipeline = FakePipeline()
    server = RpcServer(parts(pipeline), min_peak=0.3, host="127.0.0.1", port=0)
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Rpc(pipeline, server, GRPCInferenceServiceStub(channel))
    await server.stop(grace_s=0)


def message(*, raw: bool, request_id: str = "9") -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="hand", id=request_id)
    depth = request.inputs.add(name="depth", datatype="UINT16", shape=[24, 32])
    camera = request.inputs.add(name="intrinsics", datatype="FP32", shape=[4])
    if raw:
        request.raw_input_contents[:] = [DEPTH.tobytes(), np.array(CAMERA, "<f4").tobytes()]
    else:
        depth.contents.uint_contents[:] = DEPTH.ravel().tolist()
        camera.contents.fp32_contents[:] = CAMERA
    return request


@pytest.mark.parametrize("raw", [True, False])
async def test_an_rpc_is_answered_with_raw_tensors_under_its_id(rpc: Rpc, raw: bool) -> None:
    request = message(raw=raw)
    request.parameters["handedness"].string_param = "left"
    answer = await rpc.stub.ModelInfer(request)
    assert (answer.id, answer.model_name, answer.model_version) == ("9", "hand", "1")
    found = np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(answer.outputs[0].shape)
    np.testing.assert_allclose(found, KEYPOINTS_MM, atol=1e-4)
    assert not answer.parameters["degraded"].bool_param
    call = rpc.pipeline.calls[0]
    np.testing.assert_array_equal(call.frame.depth_mm, DEPTH)
    assert call.frame.intrinsics == Intrinsics(
        fx_px=CAMERA[0], fy_px=CAMERA[1], cx_px=CAMERA[2], cy_px=CAMERA[3]
    )
    assert call.options.handedness is Handedness.LEFT


async def test_a_wrong_rpc_has_its_status(rpc: Rpc) -> None:
    request = message(raw=True)
    del request.raw_input_contents[1]
    with pytest.raises(grpc.aio.AioRpcError, match="2 inputs, but 1 raw_input_contents") as error:
        await rpc.stub.ModelInfer(request)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    request = message(raw=True)
    request.model_name = "foot"
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await rpc.stub.ModelInfer(request)
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


async def test_an_error_in_a_stream_ends_nothing(rpc: Rpc) -> None:
    wrong = message(raw=True, request_id="2")
    wrong.model_name = "foot"
    requests = [message(raw=True, request_id="1"), wrong, message(raw=False, request_id="3")]
    answers = [answer async for answer in rpc.stub.ModelStreamInfer(iter(requests))]
    assert [answer.infer_response.id for answer in answers] == ["1", "2", "3"]
    assert [bool(answer.error_message) for answer in answers] == [False, True, False]


async def test_a_drain_ends_an_idle_stream(rpc: Rpc) -> None:
    call = rpc.stub.ModelStreamInfer()
    await call.write(message(raw=True))
    await call.read()
    stopping = asyncio.create_task(rpc.server.stop(grace_s=30))
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await asyncio.wait_for(call.read(), 5)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    await asyncio.wait_for(stopping, 5)


async def test_metadata_and_readiness_over_grpc(rpc: Rpc) -> None:
    stub = rpc.stub
    assert (await stub.ServerLive(pb.ServerLiveRequest())).live
    assert (await stub.ServerReady(pb.ServerReadyRequest())).ready
    assert (await stub.ServerMetadata(pb.ServerMetadataRequest())).name == "v2vpose"
    metadata = await stub.ModelMetadata(pb.ModelMetadataRequest(name="hand"))
    assert [tensor.name for tensor in metadata.inputs] == ["depth", "intrinsics"]
    assert list(metadata.outputs[0].shape) == [3, 3]
    asked = pb.ModelReadyRequest(name="hand", version="1")
    assert (await stub.ModelReady(asked)).ready
    rpc.pipeline.ready = False
    assert not (await stub.ModelReady(asked)).ready
    assert not (await stub.ServerReady(pb.ServerReadyRequest())).ready


async def test_no_answer_is_served_while_the_model_is_not_up(rpc: Rpc) -> None:
    rpc.pipeline.error = UnavailableError("not up yet")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await rpc.stub.ModelInfer(message(raw=True))
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_protocols_routes_are_counted(rest: Rest) -> None:
    await rest.client.post(INFER, json=json_request())
    await rest.client.post(INFER, json={})
    text = (await rest.client.get("/metrics")).text
    assert 'v2vpose_requests_total{code="ok",route="oip_infer"} 1.0' in text
    assert 'v2vpose_requests_total{code="invalid_field",route="oip_infer"} 1.0' in text
