"""The bundled hand on scenes without one: asked of the estimator, over REST and over gRPC."""

from pathlib import Path

import grpc
import httpx
import numpy as np

from tests.e2e.test_wire_parity import code_of
from tests.inline import serving
from v2vpose.api.decode import Encoding, encode_frame
from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.api.pb.pose_pb2_grpc import PoseEstimationStub
from v2vpose.datasets.synthetic import EmptyScenes, SyntheticHands
from v2vpose.errors import NothingToEstimateError
from v2vpose.estimator import Estimator
from v2vpose.model_store import ModelStore
from v2vpose.values import DepthFrame

STORE = Path(__file__).parents[2] / "model_store"
UNIT_MM = 0.125
SCENES, HANDS = 14, 3
AXES = ("fx_px", "fy_px", "cx_px", "cy_px")


def in_units(depth_mm: np.ndarray) -> np.ndarray:
    return np.rint(depth_mm / UNIT_MM).astype(np.uint16)


def frames() -> list[DepthFrame]:
    """Scenes without a hand, then frames with one."""
    scenes, hands = (made(split="held_out", seed=9) for made in (EmptyScenes, SyntheticHands))
    made = [*(scenes.frame(i) for i in range(SCENES)), *(hands.frame(i) for i in range(HANDS))]
    return [
        DepthFrame(in_units(each.depth_mm) * np.float32(UNIT_MM), each.intrinsics) for each in made
    ]


def found_by(estimator: Estimator, frame: DepthFrame) -> str:
    try:
        estimator.estimate(frame)
    except NothingToEstimateError as nothing:
        return nothing.code
    return "pose"


async def over_rest(client: httpx.AsyncClient, frame: DepthFrame) -> str:
    answer = await client.post(
        "/v1/estimate",
        params={"depth_unit_mm": UNIT_MM, **{a: getattr(frame.intrinsics, a) for a in AXES}},
        content=encode_frame(in_units(frame.depth_mm), Encoding.PNG16),
        headers={"content-type": "image/png"},
    )
    if answer.status_code == 200:
        return "pose"
    assert answer.status_code == 422
    return str(answer.json()["code"])


async def over_grpc(stub: PoseEstimationStub, frame: DepthFrame) -> str:
    camera = pb.Intrinsics(**{a: getattr(frame.intrinsics, a) for a in AXES})
    rows, cols = frame.hw
    depth = pb.DepthMap(
        data=in_units(frame.depth_mm).astype("<u2").tobytes(),
        encoding=pb.ENCODING_RAW_U16_LE,
        width=cols,
        height=rows,
    )
    options = pb.EstimateOptions(intrinsics=camera, depth_unit_mm=UNIT_MM)
    try:
        await stub.Estimate(pb.EstimateRequest(depth=depth, options=options))
    except grpc.aio.AioRpcError as error:
        return f"{error.code().name} {code_of(error)}"
    return "pose"


async def test_a_scene_without_a_hand_is_nothing_to_estimate_on_every_way() -> None:
    version = ModelStore(STORE).open("hand")
    estimator = Estimator.load(version, backend="torch")
    asked = frames()
    expected = [found_by(estimator, frame) for frame in asked]
    assert expected[:SCENES].count("nothing_to_estimate") >= SCENES - 1
    assert expected[SCENES:] == ["pose"] * HANDS
    async with serving(STORE) as service:
        url, address = (f"127.0.0.1:{port}" for port in (service.http_port, service.grpc_port))
        async with httpx.AsyncClient(
            base_url=f"http://{url}", timeout=60, trust_env=False
        ) as client:
            assert [await over_rest(client, frame) for frame in asked] == expected
        async with grpc.aio.insecure_channel(address) as channel:
            stub = PoseEstimationStub(channel)
            said = [await over_grpc(stub, frame) for frame in asked]
            assert [each.removeprefix("INVALID_ARGUMENT ") for each in said] == expected
