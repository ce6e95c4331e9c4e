"""A gRPC client that is not ours (grpcurl, in Go) on the real service, by reflection alone."""

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.conftest import FRAME, INTRINSICS, UNITS, Running

ROOT = Path(__file__).parents[2]
SERVICE = "v2vpose.v1.PoseEstimation"

pytestmark = pytest.mark.timeout(400)


def tool(name: str) -> str:
    """Return the path of a program of this environment."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    assert found is not None, f"{name} is not installed"
    return found


def grpcurl(running: Running, *words: str, messages: list[dict[str, Any]] | None = None) -> str:
    data = ["-d", "@"] if messages is not None else []
    done = subprocess.run(
        [
            tool("grpcurl"),
            "-plaintext",
            "-max-time",
            "60",
            "-emit-defaults",
            *data,
            running.grpc_address,
            *words,
        ],
        input="".join(map(json.dumps, messages or [])),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


DEPTH = {
    "data": base64.b64encode(UNITS.astype("<u2").tobytes()).decode(),
    "encoding": "ENCODING_RAW_U16_LE",
    "width": UNITS.shape[1],
    "height": UNITS.shape[0],
}
OPTIONS = {"intrinsics": INTRINSICS, "depth_unit_mm": 0.25}


def check(running: Running, pose: dict[str, Any]) -> None:
    found = [[k["x_mm"], k["y_mm"], k["z_mm"]] for k in pose["keypoints"]]
    expected = running.estimator.estimate(FRAME).keypoints_mm
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_it_finds_the_services_by_reflection(service: Running) -> None:
    assert set(grpcurl(service, "list").split()) == {
        SERVICE, "inference.GRPCInferenceService",
        "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection",
    }  # fmt: skip
    assert "EstimateStream" in grpcurl(service, "describe", SERVICE)


def test_it_asks_for_health(service: Running) -> None:
    answer = grpcurl(service, "grpc.health.v1.Health/Check", messages=[{"service": SERVICE}])
    assert json.loads(answer) == {"status": "SERVING"}


def test_it_calls_unary(service: Running) -> None:
    request = {"depth": DEPTH, "options": OPTIONS}
    answer = json.loads(grpcurl(service, f"{SERVICE}/Estimate", messages=[request]))
    check(service, answer["pose"])


def test_it_streams(service: Running) -> None:
    start = {
        "options": OPTIONS,
        "on_backlog": "ON_BACKLOG_EVERY",
        "localise_every_frame": True,
    }
    frames = [{"frame": {"sequence": i, "depth": DEPTH}} for i in range(5)]
    text = grpcurl(service, f"{SERVICE}/EstimateStream", messages=[{"start": start}, *frames])
    decoder, answers = json.JSONDecoder(), []
    while text := text.lstrip():
        answer, end = decoder.raw_decode(text)
        answers.append(answer)
        text = text[end:]
    assert [int(answer.get("sequence", 0)) for answer in answers] == list(range(5))
    for answer in answers:
        check(service, answer["pose"])


def test_the_proto_passes_bufs_lint() -> None:
    done = subprocess.run(
        [tool("buf"), "lint", ROOT / "proto"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
