"""What the compose file brings up, from outside; in the order of a service's life.

`tools/compose_ci.sh` starts an engine, builds the image and runs this; the last tests stop the
service, and leave it stopped.
"""

import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from tests.deploy.test_dashboards import every_expression
from tests.frames import CAMERA, sphere_frame
from v2vpose.api.decode.png import encode_png
from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.api.pb.pose_pb2_grpc import PoseEstimationStub

pytestmark = [
    pytest.mark.skipif("COMPOSE_UP" not in os.environ, reason="tools/compose_ci.sh runs this"),
    pytest.mark.timeout(300),
]

ROOT = Path(__file__).parents[2]
REST, RPC = "http://127.0.0.1:8000", "127.0.0.1:50051"
PROXIED_REST, PROXIED_RPC = "http://127.0.0.1:8080", "127.0.0.1:8081"
PROMETHEUS, ALERTMANAGER = "http://127.0.0.1:9090", "http://127.0.0.1:9093"
CENTRE_MM = (0.0, 0.0, 600.0)
STREAM_FRAMES = 20


def compose(*arguments: str) -> str:
    """Run `docker compose`; the environment names the files."""
    return _output("docker", "compose", *arguments)


def in_service(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command inside the service's container; it may fail."""
    return _run("docker", "compose", "exec", "-T", "v2vpose", *command)


def _output(*command: str) -> str:
    done = _run(*command)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def container() -> dict[str, Any]:
    """`docker inspect` of the service."""
    name = compose("ps", "--all", "--quiet", "v2vpose").strip()
    found: dict[str, Any] = json.loads(_output("docker", "inspect", name))[0]
    return found


def eventually(look: Callable[[], Any], *, within_s: float) -> Any:
    """Return the first truthy result."""
    end_s = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < end_s, f"not within {within_s} s"
        time.sleep(0.5)
    return found


def pixels() -> Any:
    return np.round(sphere_frame(CENTRE_MM).depth_mm).astype(np.uint16)


def query() -> dict[str, Any]:
    """A REST request's fields; the hint makes it a target for any model."""
    camera = {n: getattr(CAMERA, n) for n in ("fx_px", "fy_px", "cx_px", "cy_px")}
    return {**camera, "reference_point_mm": ",".join(map(str, CENTRE_MM))}


def options() -> pb.EstimateOptions:
    camera = pb.Intrinsics(
        fx_px=CAMERA.fx_px, fy_px=CAMERA.fy_px, cx_px=CAMERA.cx_px, cy_px=CAMERA.cy_px
    )
    x_mm, y_mm, z_mm = CENTRE_MM
    return pb.EstimateOptions(
        intrinsics=camera, reference_point_mm=pb.Point(x_mm=x_mm, y_mm=y_mm, z_mm=z_mm)
    )


def post(base_url: str) -> httpx.Response:
    """Post a depth PNG over a connection of its own."""
    return httpx.post(
        f"{base_url}/v1/estimate",
        params=query(),
        content=encode_png(pixels()),
        headers={"content-type": "image/png"},
        timeout=60,
    )


def camera(frames: int) -> Iterator[pb.EstimateStreamRequest]:
    """A stream's start and its frames, all kept."""
    start = pb.StreamStart(options=options(), on_backlog=pb.ON_BACKLOG_EVERY)
    yield pb.EstimateStreamRequest(start=start)
    depth = pb.DepthMap(data=encode_png(pixels()), encoding=pb.ENCODING_PNG16)
    for sequence in range(frames):
        yield pb.EstimateStreamRequest(frame=pb.Frame(sequence=sequence, depth=depth))


def asked(expression: str) -> list[dict[str, Any]]:
    """Run an expression in Prometheus."""
    answer = httpx.get(f"{PROMETHEUS}/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", f"{expression}: {answer}"
    result: list[dict[str, Any]] = answer["data"]["result"]
    return result


def value_of(expression: str) -> float:
    return sum(float(series["value"][1]) for series in asked(expression))


def test_the_container_is_locked_up():
    assert in_service("id", "-u").stdout.strip() == "10001"
    assert in_service("touch", "/opt/v2vpose/x").returncode != 0
    assert in_service("touch", "/tmp/x", "/var/cache/v2vpose/x").returncode == 0  # noqa: S108
    host = container()["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert container()["State"]["Health"]["Status"] == "healthy"


def test_it_started_without_compiling():
    numba = "/var/cache/v2vpose/numba"
    begun = container()["State"]["StartedAt"]
    assert in_service("find", numba, "-name", "*.nbc").stdout
    assert in_service("find", numba, "-name", "*.nbc", "-newermt", begun).stdout == ""


def test_the_image_says_what_it_is():
    labels = container()["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "v2vpose"
    assert labels["org.opencontainers.image.revision"] != "unknown"


@pytest.mark.parametrize("base_url", [REST, PROXIED_REST])
def test_a_depth_png_gets_a_pose(base_url: str):
    answer = post(base_url)
    assert answer.status_code == 200, answer.text
    pose = answer.json()
    assert pose["ensemble"]["answered"] == pose["ensemble"]["epochs"]
    off_mm = [abs(k["z_mm"] - CENTRE_MM[2]) for k in pose["keypoints"]]
    assert max(off_mm) <= pose["cubic_box"]["side_mm"]


@pytest.mark.parametrize("target", [RPC, PROXIED_RPC])
def test_a_stream_gets_every_answer_in_order(target: str):
    with grpc.insecure_channel(target) as channel:
        answers = list(PoseEstimationStub(channel).EstimateStream(camera(STREAM_FRAMES)))
    assert [answer.sequence for answer in answers] == list(range(STREAM_FRAMES))
    assert {answer.WhichOneof("result") for answer in answers} == {"pose"}


def test_the_proxy_keeps_the_operators_pages_inside():
    assert httpx.get(f"{PROXIED_REST}/metrics").status_code == 404
    assert httpx.post(f"{PROXIED_REST}/v1/models/hand:reload").status_code == 404
    assert httpx.get(f"{PROXIED_REST}/readyz").status_code == 200


def test_prometheus_has_what_was_asked():
    eventually(
        lambda: (
            value_of('v2vpose_requests_total{route="estimate", code="ok"}') >= 2
            and value_of('v2vpose_requests_total{route="rpc_stream_frame"}') >= 2 * STREAM_FRAMES
        ),
        within_s=30,
    )
    assert value_of('up{job="v2vpose"}') == 1
    assert value_of("count(v2vpose_worker_up == 1)") >= 1


def test_every_panel_has_data(capsys: pytest.CaptureFixture[str]):
    end_s = time.monotonic() + 30
    while time.monotonic() < end_s:  # a rate needs two scrapes with a change in between
        assert post(REST).status_code == 200
    empty = []
    with capsys.disabled():
        for expression in every_expression():
            found = asked(expression)
            values = [float(series["value"][1]) for series in found]
            print(f"\n  {expression}\n    = {', '.join(f'{v:.4g}' for v in values)}", end="")
            if not found:
                empty.append(expression)
    # Nothing was refused or left: a counter without a single event has no series.
    assert [e for e in empty if "v2vpose_rejected_total" not in e] == []


def test_prometheus_knows_the_rules_and_alertmanager():
    groups = httpx.get(f"{PROMETHEUS}/api/v1/rules").json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}
    found = httpx.get(f"{PROMETHEUS}/api/v1/alertmanagers").json()["data"]
    assert [each["url"] for each in found["activeAlertmanagers"]] == [
        "http://alertmanager:9093/api/v2/alerts"
    ]


def outcome(base_url: str) -> str:
    """One request of a caller during the drain."""
    try:
        answer = post(base_url)
    except httpx.ConnectError:
        return "not accepted"
    except httpx.HTTPError as error:
        return f"lost: {error!r}"
    if answer.status_code == 503:
        return "sent away" if "retry-after" in answer.headers else "503 without Retry-After"
    return "pose" if answer.status_code == 200 else f"{answer.status_code} {answer.text}"


def test_stopping_under_load_loses_no_request(capsys: pytest.CaptureFixture[str]):
    # Straight to the container: Docker's own port forwarder would hide a closed door.
    networks = container()["NetworkSettings"]["Networks"]
    base_url = f"http://{next(iter(networks.values()))['IPAddress']}:8000"
    outcomes: Counter[str] = Counter()
    closed = threading.Event()

    def call() -> None:
        while not closed.is_set():
            found = outcome(base_url)
            outcomes[found] += 1
            if found == "not accepted":
                closed.set()

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    eventually(lambda: outcomes["pose"] >= 8, within_s=60)
    begin_s = time.monotonic()
    compose("stop", "v2vpose")
    stop_s = time.monotonic() - begin_s
    closed.set()
    for caller in callers:
        caller.join()
    state = container()["State"]
    with capsys.disabled():
        print(f"\n  stopped in {stop_s:.1f} s, exit {state['ExitCode']}: {dict(outcomes)}", end="")
    assert set(outcomes) <= {"pose", "sent away", "not accepted"}, outcomes
    assert state["ExitCode"] == 0
    assert not state["OOMKilled"]
    messages = [json.loads(line)["message"] for line in _logs()]
    assert any(message.startswith("draining") for message in messages)
    assert messages[-1] == "stopped"


def _logs() -> list[str]:
    return compose("logs", "--no-log-prefix", "v2vpose").splitlines()


def test_a_service_that_is_gone_fires_an_alert(capsys: pytest.CaptureFixture[str]):
    begin_s = time.monotonic()
    alerts = eventually(
        lambda: [
            alert
            for alert in httpx.get(f"{ALERTMANAGER}/api/v2/alerts").json()
            if alert["labels"]["alertname"] == "V2VPoseDown"
        ],
        within_s=150,
    )
    with capsys.disabled():
        print(f"\n  after {time.monotonic() - begin_s:.0f} s: {alerts[0]['annotations']}", end="")
    assert alerts[0]["labels"]["severity"] == "page"
