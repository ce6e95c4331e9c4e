"""What the compose file brings up, from outside; in the order of a service's life.

`tools/compose_ci.sh` starts an engine, builds the image and runs this; the last tests stop the
service, and leave it stopped.
"""

import json
import math
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from tests.deploy.test_dashboards import Shown, everything_shown
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
BURST = 160  # more than the queues hold
HAND_PNG, HAND_CAMERA = ROOT / "examples/hand.png", ROOT / "examples/hand.json"


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line into the log of the run."""

    def print_line(line: str) -> None:
        with capsys.disabled():
            print(f"\n  {line}", end="")

    return print_line


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


def depth_map() -> pb.DepthMap:
    return pb.DepthMap(data=encode_png(pixels()), encoding=pb.ENCODING_PNG16)


def camera(frames: int, backlog: pb.OnBacklog = pb.ON_BACKLOG_EVERY) -> Iterator[Any]:
    """A stream's start and its frames, as fast as they are taken."""
    start = pb.StreamStart(options=options(), on_backlog=backlog)
    yield pb.EstimateStreamRequest(start=start)
    for sequence in range(frames):
        yield pb.EstimateStreamRequest(frame=pb.Frame(sequence=sequence, depth=depth_map()))


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
def test_a_depth_png_of_a_hand_gets_a_pose(base_url: str, tell: Callable[[str], None]):
    answer = httpx.post(
        f"{base_url}/v1/estimate",
        params={**json.loads(HAND_CAMERA.read_text("utf-8")), "include": "timing"},
        content=HAND_PNG.read_bytes(),
        headers={"content-type": "image/png"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    pose = answer.json()
    assert pose["ensemble"]["answered"] == pose["ensemble"]["epochs"]
    tip = next(k for k in pose["keypoints"] if k["name"] == "index_tip")
    assert tip["in_view"]
    x_mm, y_mm, z_mm = (tip[f"{axis}_mm"] for axis in "xyz")
    tell(
        f"{pose['model']}/{pose['version']}: {len(pose['keypoints'])} keypoints from members "
        f"{pose['ensemble']['answered']} in {pose['timing_ms']['total']:.0f} ms; "
        f"index_tip at ({x_mm:.1f}, {y_mm:.1f}, {z_mm:.1f}) mm"
    )


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


def test_a_burst_is_answered_or_told_when_to_come_again(tell: Callable[[str], None]):
    with ThreadPoolExecutor(BURST) as callers:
        answers = list(callers.map(post, [REST] * BURST))
    found = Counter(answer.status_code for answer in answers)
    tell(
        f"{BURST} requests at once: {found[200]} poses, {found[429]} told to come again, "
        f"{found[504]} too late"
    )
    assert {200, 429} <= set(found) <= {200, 429, 504}, found  # 504: 30 s are not enough here
    assert all("retry-after" in a.headers for a in answers if a.status_code == 429)


def test_prometheus_has_what_was_asked(tell: Callable[[str], None]):
    at_least = {
        'up{job="v2vpose"}': 1,
        "count(v2vpose_worker_up > 0)": 1,
        'v2vpose_requests_total{route="estimate", code="ok"}': 2,
        'v2vpose_requests_total{route="rpc_stream_frame", code="ok"}': 2 * STREAM_FRAMES,
        'v2vpose_rejected_total{reason="overloaded"}': 1,
    }
    for expression, least in at_least.items():
        eventually(partial(_reaches, expression, least), within_s=30)
        tell(f"{expression} = {value_of(expression):.0f}")


def _reaches(expression: str, least: float) -> bool:
    return value_of(expression) >= least


def test_every_panel_has_data():
    end_s = time.monotonic() + 30
    with grpc.insecure_channel(RPC) as channel:
        stub = PoseEstimationStub(channel)
        while time.monotonic() < end_s:  # a rate needs two scrapes with a change in between
            assert post(REST).status_code == 200
            stub.Estimate(pb.EstimateRequest(depth=depth_map(), options=options()), timeout=60)
            assert list(stub.EstimateStream(camera(5, pb.ON_BACKLOG_LATEST)))
        found = {shown: values_of(shown.expression) for shown in everything_shown()}
    _write_table(found)
    assert [shown for shown, values in found.items() if not values] == []


def values_of(expression: str) -> list[str]:
    """Every series that Prometheus has a number for now: its labels and value."""
    values = [
        (", ".join(series["metric"].values()) or "value", float(series["value"][1]))
        for series in asked(expression)
    ]
    return [f"{labels} = {value:.4g}" for labels, value in values if not math.isnan(value)]


def _write_table(found: dict[Shown, list[str]]) -> None:
    """Write what the panels show, as Markdown; PANELS names the file."""
    lines = [
        "# What every panel shows",
        "",
        "Each expression of each dashboard, run against the Prometheus of one run of "
        "`tools/compose_ci.sh`, after a burst, and half a minute of single requests and short "
        "streams.",
        "",
        "| dashboard | panel | expression | series |",
        "|---|---|---|---|",
    ]
    for shown, values in found.items():
        cells = (f"`{shown.expression}`", "; ".join(values))
        escaped = " | ".join(cell.replace("|", "\\|") for cell in cells)
        lines.append(f"| {shown.dashboard} | {shown.panel} | {escaped} |")
    if "PANELS" in os.environ:
        (ROOT / os.environ["PANELS"]).write_text("\n".join(lines) + "\n", "utf-8")


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


def test_stopping_under_load_loses_no_request(tell: Callable[[str], None]):
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
    tell(f"stopped in {stop_s:.1f} s, exit {state['ExitCode']}: {dict(outcomes)}")
    assert set(outcomes) <= {"pose", "sent away", "not accepted"}, outcomes
    assert state["ExitCode"] == 0
    assert not state["OOMKilled"]
    messages = [json.loads(line)["message"] for line in _logs()]
    assert any(message.startswith("draining") for message in messages)
    assert messages[-1] == "stopped"


def _logs() -> list[str]:
    return compose("logs", "--no-log-prefix", "v2vpose").splitlines()


def test_a_service_that_is_gone_fires_an_alert(tell: Callable[[str], None]):
    begin_s = time.monotonic()
    alerts = eventually(
        lambda: [
            alert
            for alert in httpx.get(f"{ALERTMANAGER}/api/v2/alerts").json()
            if alert["labels"]["alertname"] == "V2VPoseDown"
        ],
        within_s=150,
    )
    summary = alerts[0]["annotations"]["summary"]
    tell(f"V2VPoseDown fired after {time.monotonic() - begin_s:.0f} s: {summary}")
    assert alerts[0]["labels"]["severity"] == "page"
