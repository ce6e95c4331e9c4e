"""The real service in its own process, on real ports, over the real engine."""

import re
import signal
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from tests.e2e.conftest import BALL, FRAME, INTRINSICS, PNG, UNITS, Running
from tests.stores import write_tiny_store
from v2vpose.api.decode import Encoding, encode_frame
from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.api.pb.pose_pb2_grpc import PoseEstimationStub
from v2vpose.estimator import Options
from v2vpose.values import Handedness, Hint, Pose

pytestmark = pytest.mark.timeout(400)

CASES: list[tuple[dict[str, Any], Options]] = [
    ({}, Options()),
    ({"reference_point_mm": "10,20,500"}, Options(hint=Hint(reference_point_mm=BALL))),
    ({"near_mm": 300, "far_mm": 700, "handedness": "left"},
     Options(hint=Hint(range_mm=(300, 700)), handedness=Handedness.LEFT)),
    ({"roi_px": "100,60,220,190", "side_mm": 200, "epochs": "2"},
     Options(hint=Hint(roi_px=(100, 60, 220, 190)), side_mm=200, epochs=(2,))),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "options"), CASES)
def test_a_served_answer_is_the_estimators(
    service: Running, fields: dict[str, Any], options: Options
) -> None:
    expected = service.estimator.estimate(FRAME, options)
    response = httpx.post(
        f"{service.url}/v1/estimate",
        params={**INTRINSICS, "depth_unit_mm": 0.25, **fields},
        content=PNG,
        headers={"content-type": "image/png"},
        timeout=60,
    )
    assert response.status_code == 200, response.text
    answer = response.json()
    found = [[k["x_mm"], k["y_mm"], k["z_mm"]] for k in answer["keypoints"]]
    np.testing.assert_allclose(found, expected.keypoints_mm, atol=0.01)
    assert answer["ensemble"]["answered"] == list(expected.answered)
    assert answer["handedness"]["label"] == (expected.handedness or ("none",))[0]


@pytest.mark.parametrize("encoding", ["PNG16", "RAW_U16_LE", "DELTA_ZSTD_U16", "RVL"])
def test_a_grpc_answer_is_the_estimators(service: Running, encoding: str) -> None:
    expected = service.estimator.estimate(FRAME)
    with grpc.insecure_channel(service.grpc_address) as channel:
        stub = PoseEstimationStub(channel)
        answer = stub.Estimate(
            pb.EstimateRequest(
                depth=_depth(Encoding[encoding]),
                options=pb.EstimateOptions(
                    intrinsics=pb.Intrinsics(**INTRINSICS), depth_unit_mm=0.25
                ),
            ),
            timeout=60,
        )
    _same(answer.pose, expected)


def test_a_stream_answers_each_frame_like_the_estimator(service: Running) -> None:
    expected = service.estimator.estimate(FRAME)
    options = pb.EstimateOptions(intrinsics=pb.Intrinsics(**INTRINSICS), depth_unit_mm=0.25)
    start = pb.StreamStart(
        options=options, on_backlog=pb.ON_BACKLOG_EVERY, localise_every_frame=True
    )
    depth = _depth(Encoding.DELTA_ZSTD_U16)
    requests = [
        pb.EstimateStreamRequest(start=start),
        *(pb.EstimateStreamRequest(frame=pb.Frame(sequence=i, depth=depth)) for i in range(5)),
    ]
    with grpc.insecure_channel(service.grpc_address) as channel:
        stub = PoseEstimationStub(channel)
        answers = list(stub.EstimateStream(iter(requests), timeout=60))
    assert [answer.sequence for answer in answers] == list(range(5))
    for answer in answers:
        _same(answer.pose, expected)


def _depth(encoding: Encoding) -> pb.DepthMap:
    rows, cols = UNITS.shape
    return pb.DepthMap(
        data=encode_frame(UNITS, encoding),
        encoding=pb.Encoding.Value(f"ENCODING_{encoding}"),
        width=cols,
        height=rows,
    )


def _same(pose: pb.Pose, expected: Pose) -> None:
    found = [[k.x_mm, k.y_mm, k.z_mm] for k in pose.keypoints]
    np.testing.assert_allclose(found, expected.keypoints_mm, atol=0.01)


def test_nothing_to_estimate_and_too_little_time_are_told_apart(service: Running) -> None:
    empty = encode_frame(np.zeros((48, 64), np.uint16), Encoding.PNG16)
    headers = {"content-type": "image/png"}
    url = f"{service.url}/v1/estimate"
    nothing = httpx.post(url, params=INTRINSICS, content=empty, headers=headers, timeout=60)
    assert (nothing.status_code, nothing.json()["code"]) == (422, "nothing_to_estimate")
    hurried = httpx.post(
        url, params=INTRINSICS, content=PNG, timeout=60,
        headers={**headers, "x-request-timeout": "0.000001"},
    )  # fmt: skip
    assert (hurried.status_code, hurried.json()["code"]) == (504, "deadline_exceeded")


def test_a_broken_version_is_refused_and_a_good_one_takes_over(service: Running) -> None:
    url = f"{service.url}/v1/models/hand:reload"
    admin = {"x-api-key": "boss"}
    broken = write_tiny_store(service.store, version="2", epochs=1)
    weights = broken.directory / "epoch-01.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    refused = httpx.post(url, headers=admin, timeout=90)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_model")
    assert "epoch-01.safetensors" in refused.json()["detail"]
    assert httpx.get(f"{service.url}/v1/models/hand").json()["version"] == "1"
    weights.write_bytes(good)
    moved = httpx.post(url, headers=admin, timeout=90)
    assert (moved.status_code, moved.json()["version"]) == (200, "2")
    assert httpx.get(f"{service.url}/readyz").status_code == 200


def test_the_end_is_orderly(service: Running) -> None:
    """Last: nothing is in flight, the counts hold, SIGTERM ends it with exit code 0."""
    text = httpx.get(f"{service.url}/metrics").text
    assert "v2vpose_in_flight 0.0" in text
    ok = re.search(r'v2vpose_requests_total\{code="ok",route="estimate"\} (\S+)', text)
    assert ok is not None
    assert float(ok[1]) == len(CASES)
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(30) == 0
