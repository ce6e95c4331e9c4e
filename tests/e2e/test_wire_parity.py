"""Whatever the form of a request, its answer is the estimator's: every door, every encoding.

Depth is drawn in units of 1/1024 m, which every lossless encoding holds exactly, so that what is
compared is the service and not the rounding of an encoding.
"""

import asyncio
import struct
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import httpx
import numpy as np
import orjson
import pytest
from google.rpc.error_details_pb2 import ErrorInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.api.decode.makers import npy, png, tiff
from tests.frames import sphere_frame
from tests.inline import serving
from tests.stores import write_tiny_store
from v2vpose.api.decode import Encoding, encode_frame
from v2vpose.api.decode.ros import encode_compressed_depth
from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.api.pb.pose_pb2_grpc import PoseEstimationStub
from v2vpose.errors import PoseError
from v2vpose.estimator import Estimator, Options
from v2vpose.values import Decode, DepthFrame, Handedness, Hint, Intrinsics

EXAMPLES = settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.reuse, Phase.generate),  # to shrink an example takes minutes
)
TOLERANCE_MM = 0.01
UNIT_MM = 1000 / 1024
QUANTUM = (15_000.0, -50.0)  # A and B of the inverse depth of ROS: metres = A / (value - B)
Answer: TypeAlias = list[list[float]] | str
"""Keypoints, mm; or the code of an error."""


@dataclass(frozen=True)
class Asked:
    """A depth map in units, its camera, and what else is asked, for REST, gRPC and estimator."""

    units: NDArray[np.uint16]
    camera: Intrinsics
    fields: Mapping[str, Any]
    message: Mapping[str, Any]
    options: Options

    def rest_fields(self) -> dict[str, Any]:
        return {**vars_of(self.camera), "depth_unit_mm": UNIT_MM, **self.fields}

    def grpc_options(self) -> pb.EstimateOptions:
        return pb.EstimateOptions(
            intrinsics=pb.Intrinsics(**vars_of(self.camera)), depth_unit_mm=UNIT_MM, **self.message
        )


def vars_of(camera: Intrinsics) -> dict[str, float]:
    return {name: getattr(camera, name) for name in ("fx_px", "fy_px", "cx_px", "cy_px")}


@st.composite
def requests(draw: st.DrawFn) -> Asked:
    """A ball somewhere, seen by some camera, asked for in some way."""
    hw = draw(st.integers(60, 200)), draw(st.integers(80, 260))
    fx_px = draw(st.floats(150, 400))
    cx_px, cy_px = draw(st.floats(0.4, 0.6)) * hw[1], draw(st.floats(0.4, 0.6)) * hw[0]
    camera = Intrinsics(fx_px, fx_px * draw(st.floats(0.95, 1.05)), cx_px, cy_px)
    x, y, z = draw(st.floats(-40, 40)), draw(st.floats(-30, 30)), draw(st.floats(350, 700))
    wall_mm = draw(st.sampled_from((0.0, 1200.0)))
    ball = sphere_frame((x, y, z), wall_mm=wall_mm, hw=hw, intrinsics=camera)
    units = np.rint(ball.depth_mm / UNIT_MM).astype(np.uint16)
    places: tuple[tuple[dict[str, Any], dict[str, Any], Hint], ...] = (
        ({}, {}, Hint()),
        (
            {"reference_point_mm": f"{x},{y},{z}"},
            {"reference_point_mm": pb.Point(x_mm=x, y_mm=y, z_mm=z)},
            Hint(reference_point_mm=(x, y, z)),
        ),
        (
            {"near_mm": 100, "far_mm": z + 100},
            {"range_mm": pb.DepthRange(near_mm=100, far_mm=z + 100)},
            Hint(range_mm=(100.0, z + 100)),
        ),
    )
    place = draw(st.sampled_from(places))
    side_mm = draw(st.sampled_from((200.0, 250.0)))
    is_left, is_argmax = draw(st.booleans()), draw(st.booleans())
    hand = Handedness.LEFT if is_left else Handedness.RIGHT
    decode = Decode.ARGMAX if is_argmax else Decode.SUBVOXEL
    return Asked(
        units,
        camera,
        {"side_mm": side_mm, "handedness": hand.value, "decode": decode.value, **place[0]},
        {
            "side_mm": side_mm,
            "handedness": pb.HANDEDNESS_LEFT if is_left else pb.HANDEDNESS_RIGHT,
            "decode": pb.DECODE_ARGMAX if is_argmax else pb.DECODE_SUBVOXEL,
            **place[1],
        },
        Options(hint=place[2], handedness=hand, side_mm=side_mm, decode=decode),
    )


def rest_forms(asked: Asked) -> dict[str, dict[str, Any]]:
    """The arguments of the request for each of the forms that REST reads."""
    rows, cols = asked.units.shape
    raw, fields = asked.units.astype("<u2").tobytes(), asked.rest_fields()
    octets = "application/octet-stream"
    bare = {
        "image/png": png(asked.units),
        "application/x-npy": npy(asked.units),
        "image/tiff": tiff(asked.units),
    }
    typed = {
        name: [float(each) for each in value.split(",")] if isinstance(value, str) and "," in value
        else value
        for name, value in fields.items()
    }  # fmt: skip
    file = ("depth.png", png(asked.units), "image/png")
    return {
        "raw": {
            "params": {**fields, "width": cols, "height": rows},
            "content": raw,
            "headers": {"content-type": octets},
        },
        **{
            kind: {"params": fields, "content": content, "headers": {"content-type": kind}}
            for kind, content in bare.items()
        },
        "form": {"data": fields, "files": {"depth": file}},
        "form, raw": {
            "data": {**fields, "width": cols, "height": rows},
            "files": {"depth": ("depth", raw, octets)},
        },
        "form, JSON": {
            "files": {
                "depth": file,
                "request": ("request", orjson.dumps(typed), "application/json"),
            }
        },
    }


def grpc_forms(units: NDArray[np.uint16]) -> dict[str, pb.DepthMap]:
    """The depth map in each encoding that holds it exactly."""
    metres = units / np.float32(1024)
    payloads = {
        Encoding.PNG16: png(units),
        Encoding.RAW_F32_LE_METRES: encode_frame(metres, Encoding.RAW_F32_LE_METRES),
        Encoding.ROS_COMPRESSED_DEPTH_16UC1: encode_compressed_depth(units, "png"),
        **{
            encoding: encode_frame(units, encoding)
            for encoding in (
                Encoding.RAW_U16_LE, Encoding.ZSTD_U16_LE, Encoding.DELTA_ZSTD_U16, Encoding.RVL,
            )
        },
    }  # fmt: skip
    forms = {str(encoding): depth_map(units, encoding, data) for encoding, data in payloads.items()}
    ros = Encoding.ROS_COMPRESSED_DEPTH_16UC1
    return {**forms, f"{ros} rvl": depth_map(units, ros, encode_compressed_depth(units, "rvl"))}


def depth_map(units: NDArray[np.uint16], encoding: Encoding, data: bytes) -> pb.DepthMap:
    rows, cols = units.shape
    number = pb.Encoding.Value(f"ENCODING_{encoding}")
    return pb.DepthMap(data=data, encoding=number, width=cols, height=rows)


def inverse_depth(units: NDArray[np.uint16]) -> tuple[pb.DepthMap, NDArray[np.float32]]:
    """The depth map as ROS quantises floats, and what is left of it, in millimetres."""
    a, b = QUANTUM
    seen = units > 0
    metres = np.where(seen, units, 1) / 1024
    values = np.where(seen, np.rint(a / metres + b), 0).astype(np.uint16)
    depth_mm = np.where(seen, 1000 * (a / (values.astype(float) - b)), 0).astype(np.float32)
    payload = struct.pack("<iff", 0, a, b) + png(values)
    return depth_map(units, Encoding.ROS_COMPRESSED_DEPTH_32FC1, payload), depth_mm


@dataclass(frozen=True)
class Served:
    """A service on real ports, its clients, and the estimator of the same model."""

    runner: asyncio.Runner
    client: httpx.AsyncClient
    stub: Any
    estimator: Estimator

    def expected(self, depth_mm: NDArray[np.float32], asked: Asked) -> Answer:
        try:
            pose = self.estimator.estimate(DepthFrame(depth_mm, asked.camera), asked.options)
        except PoseError as error:
            return error.code
        return [list(map(float, point)) for point in pose.keypoints_mm]

    async def rest(self, form: dict[str, Any]) -> Answer:
        answer = (await self.client.post("/v1/estimate", **form)).json()
        if "code" in answer:
            return str(answer["code"])
        return [[k["x_mm"], k["y_mm"], k["z_mm"]] for k in answer["keypoints"]]

    async def unary(self, depth: pb.DepthMap, options: pb.EstimateOptions) -> Answer:
        try:
            answer = await self.stub.Estimate(pb.EstimateRequest(depth=depth, options=options))
        except grpc.aio.AioRpcError as error:
            return code_of(error)
        return points(answer.pose)

    async def stream(
        self, depths: Mapping[str, pb.DepthMap], options: pb.EstimateOptions
    ) -> dict[str, Answer]:
        """All of them as the frames of one stream."""
        start = pb.StreamStart(
            options=options, on_backlog=pb.ON_BACKLOG_EVERY, localise_every_frame=True
        )
        sent = [pb.EstimateStreamRequest(start=start)]
        for sequence, depth in enumerate(depths.values()):
            frame = pb.Frame(sequence=sequence, depth=depth)
            sent.append(pb.EstimateStreamRequest(frame=frame))
        answers = [answer async for answer in self.stub.EstimateStream(iter(sent))]
        return {
            f"stream {name}": answer.error.code
            if answer.WhichOneof("result") == "error"
            else points(answer.pose)
            for name, answer in zip(depths, answers, strict=True)
        }

    async def all_forms(self, asked: Asked) -> dict[str, Answer]:
        """What every door says of a request in every form that holds it exactly."""
        forms, depths, options = rest_forms(asked), grpc_forms(asked.units), asked.grpc_options()
        rest = await asyncio.gather(*map(self.rest, forms.values()))
        unary = await asyncio.gather(*(self.unary(depth, options) for depth in depths.values()))
        return {
            **dict(zip(forms, rest, strict=True)),
            **dict(zip(depths, unary, strict=True)),
            **await self.stream(depths, options),
        }


def points(pose: pb.Pose) -> Answer:
    return [[k.x_mm, k.y_mm, k.z_mm] for k in pose.keypoints]


def code_of(error: grpc.aio.AioRpcError) -> str:
    """The code of the closed set in an RPC's status."""
    details = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    status, info = Status.FromString(details), ErrorInfo()
    assert status.details[0].Unpack(info)
    return str(info.reason).lower()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("store")
    version = write_tiny_store(root, epochs=2)
    estimator = Estimator.load(version, backend="torch")
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def open_doors() -> Served:
            service = await stack.enter_async_context(serving(root))
            address = f"127.0.0.1:{service.http_port}"
            client = httpx.AsyncClient(base_url=f"http://{address}", timeout=60, trust_env=False)
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{service.grpc_port}")
            await stack.enter_async_context(client)
            stub = PoseEstimationStub(await stack.enter_async_context(channel))
            return Served(runner, client, stub, estimator)

        yield runner.run(open_doors())
        runner.run(stack.aclose())


@EXAMPLES
@given(asked=requests())
def test_every_form_has_the_estimators_answer(served: Served, asked: Asked) -> None:
    depth_mm = asked.units * np.float32(UNIT_MM)
    expected = served.expected(depth_mm, asked)
    found = served.runner.run(served.all_forms(asked))
    assert len(found) == 7 + 2 * 8
    for form, answer in found.items():
        check(answer, expected, form)


@EXAMPLES
@given(asked=requests())
def test_inverse_depth_has_the_estimators_answer_for_what_it_holds(
    served: Served, asked: Asked
) -> None:
    depth, depth_mm = inverse_depth(asked.units)
    found = served.runner.run(served.unary(depth, asked.grpc_options()))
    check(found, served.expected(depth_mm, asked), "inverse depth")


def check(found: Answer, expected: Answer, form: str) -> None:
    if isinstance(found, str) or isinstance(expected, str):
        assert found == expected, form
    else:
        np.testing.assert_allclose(found, expected, atol=TOLERANCE_MM, rtol=0, err_msg=form)
