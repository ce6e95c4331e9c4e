"""A gRPC client that is not ours (grpcurl, in Go) on the real service, by reflection alone."""

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.live import HW, INTRINSICS, Live, live

ROOT = Path(__file__).parents[2]
SERVICE = "v2vpose.v1.PoseEstimation"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("service")) as running:
        yield running


def tool(name: str) -> str:
    """Return the path of a program of this environment."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    assert found is not None, f"{name} is not installed"
    return found


def grpcurl(running: Live, *words: str, messages: list[dict[str, Any]] | None = None) -> str:
    address = f"127.0.0.1:{running.grpc_port}"
    data = ["-d", "@"] if messages is not None else []
    done = subprocess.run(
        [
            tool("grpcurl"),
            "-plaintext",
            "-max-time",
            "60",
            "-emit-defaults",
            *data,
            address,
            *words,
        ],
        input="".join(map(json.dumps, messages or [])),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def depth(running: Live, index: int) -> dict[str, Any]:
    rows, cols = HW
    data = base64.b64encode(running.answers.raw[index]).decode()
    return {"data": data, "encoding": "ENCODING_RAW_U16_LE", "width": cols, "height": rows}


def check(running: Live, index: int, pose: dict[str, Any]) -> None:
    found = [[k["x_mm"], k["y_mm"], k["z_mm"]] for k in pose["keypoints"]]
    running.answers.check(index, pose["version"], pose["ensemble"]["answered"], found)


def test_it_finds_the_services_by_reflection(service: Live) -> None:
    assert set(grpcurl(service, "list").split()) == {
        SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection",
    }  # fmt: skip
    assert "EstimateStream" in grpcurl(service, "describe", SERVICE)


def test_it_asks_for_health(service: Live) -> None:
    answer = grpcurl(service, "grpc.health.v1.Health/Check", messages=[{"service": SERVICE}])
    assert json.loads(answer) == {"status": "SERVING"}


def test_it_calls_unary(service: Live) -> None:
    request = {"depth": depth(service, 3), "options": {"intrinsics": INTRINSICS}}
    answer = json.loads(grpcurl(service, f"{SERVICE}/Estimate", messages=[request]))
    check(service, 3, answer["pose"])


def test_it_streams(service: Live) -> None:
    start = {
        "options": {"intrinsics": INTRINSICS},
        "on_backlog": "ON_BACKLOG_EVERY",
        "localise_every_frame": True,
    }
    frames = [{"frame": {"sequence": i, "depth": depth(service, i)}} for i in range(5)]
    text = grpcurl(service, f"{SERVICE}/EstimateStream", messages=[{"start": start}, *frames])
    decoder, answers = json.JSONDecoder(), []
    while text := text.lstrip():
        answer, end = decoder.raw_decode(text)
        answers.append(answer)
        text = text[end:]
    assert [int(answer.get("sequence", 0)) for answer in answers] == list(range(5))
    for index, answer in enumerate(answers):
        check(service, index, answer["pose"])


def test_the_proto_passes_bufs_lint() -> None:
    done = subprocess.run(
        [tool("buf"), "lint", ROOT / "proto"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
