"""Start the service on the bundled models, post a depth PNG, print the joints, save the picture.

    make demo

Needs nothing but this repository. examples/hand.png is a generated frame, not trained on:
`SyntheticHands(split="held_out", seed=5).frame(359)`, in millimetres; its camera is in hand.json.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from v2vpose.evaluation.picture import DrawnPose, colour_of, picture_png
from v2vpose.values import DepthFrame, Intrinsics

EXAMPLES = Path(__file__).resolve().parent
ROOT = EXAMPLES.parent
START_LIMIT_S = 300.0  # on a busy machine; seconds on an idle one
STOP_LIMIT_S = 30.0
console = Console(highlight=False)


class DemoError(Exception):
    """Something did not work; the text says what."""


def main() -> int:
    """Run the demo; 0 if every step worked."""
    store = Path(os.environ.get("V2VPOSE_MODEL_STORE", ROOT / "model_store"))
    picture = Path.cwd() / "demo.png"
    log = Path.cwd() / "demo.log"
    try:
        camera = json.loads((EXAMPLES / "hand.json").read_text())
        png = (EXAMPLES / "hand.png").read_bytes()
        with service(store, log) as url:
            answer = post(url, png, camera)
            model = get(url, answer["skeleton"])
        show(answer)
        with step("drawing"):
            picture.write_bytes(draw(png, camera, answer, model))
    except (DemoError, OSError, httpx.HTTPError) as error:
        console.print(f"[red]failed:[/] {error}")
        if log.exists():
            console.print(f"the service's log: {log}\n[dim]{log.read_text()[-2000:]}[/]")
        return 1
    log.unlink()
    console.print(f"\npicture: [bold]{picture}[/]")
    return 0


@contextmanager
def service(store: Path, log: Path) -> Iterator[str]:
    """Run `v2vpose serve` on free ports until the block ends; its URL."""
    port = free_port()
    command = [
        sys.executable, "-m", "v2vpose", "serve",
        "--http-port", str(port), "--grpc-port", "0", "--store", str(store),
    ]  # fmt: skip
    environment = {**os.environ, "V2VPOSE_DRAIN_DELAY_S": "0"}
    with log.open("w") as output:
        process = subprocess.Popen(command, stderr=output, stdout=output, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        with step(f"starting the service on {url}"):
            wait_until_ready(url, process)
        yield url
    finally:
        with step("stopping the service"):
            process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
    if code != 0:
        raise DemoError(f"the service ended with exit code {code}, expected 0")


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Ask `/readyz` until it says yes."""
    end_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end_s:
        if process.poll() is not None:
            raise DemoError(f"the service ended with exit code {process.returncode}")
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass  # not listening yet
        time.sleep(0.1)
    raise DemoError(f"the service was not ready within {START_LIMIT_S:g} s")


def post(url: str, png: bytes, camera: dict[str, float]) -> dict[str, Any]:
    """Post the depth map and return the answer."""
    form = {**{name: str(value) for name, value in camera.items()}, "include": "timing"}
    with step("POST /v1/estimate"):
        response = httpx.post(
            f"{url}/v1/estimate",
            data=form,
            files={"depth": ("hand.png", png, "image/png")},
            timeout=60,
        )
    return answer_of(response)


def get(url: str, path: str) -> dict[str, Any]:
    """Return a page's JSON."""
    return answer_of(httpx.get(url + path, timeout=30))


def answer_of(response: httpx.Response) -> dict[str, Any]:
    """Return the JSON of a response that says 200."""
    body: dict[str, Any] = response.json()
    if response.status_code != 200:
        raise DemoError(f"{response.status_code} {body.get('code')}: {body.get('detail')}")
    return body


def show(answer: dict[str, Any]) -> None:
    """Print the joints."""
    ensemble = answer["ensemble"]
    hand = f" · {answer['handedness']['label']} hand" if answer["handedness"] else ""
    table = Table(
        title=f"{answer['model']} · version {answer['version']}{hand}", title_style="bold"
    )
    table.add_column("keypoint")
    for column in ("x mm", "y mm", "z mm", "spread mm", "confidence"):
        table.add_column(column, justify="right")
    for joint in answer["keypoints"]:
        numbers = [joint["x_mm"], joint["y_mm"], joint["z_mm"], joint["spread_mm"]]
        table.add_row(
            f"[{colour_of(joint['name'])}]●[/] {joint['name']}",
            *(f"{number:.1f}" for number in numbers),
            f"{joint['confidence']:.2f}",
        )
    console.print()
    console.print(table)
    timing = answer["timing_ms"]
    console.print(
        f"{len(ensemble['answered'])} of {len(ensemble['epochs'])} epoch checkpoints answered in "
        f"{timing['total']:.0f} ms (forward {timing['forward']:.0f} ms); "
        "camera frame: x right, y down, z away"
    )
    for warning in answer["warnings"]:
        console.print(f"[yellow]warning:[/] {warning}")


def draw(
    png: bytes, camera: dict[str, float], answer: dict[str, Any], model: dict[str, Any]
) -> bytes:
    """Return the picture of the answer."""
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise DemoError("examples/hand.png cannot be read")
    intrinsics = Intrinsics(**{name: camera[name] for name in ("fx_px", "fy_px", "cx_px", "cy_px")})
    frame = DepthFrame((pixels * camera["depth_unit_mm"]).astype(np.float32), intrinsics)
    joints = answer["keypoints"]
    hand = f" · {answer['handedness']['label']} hand" if answer["handedness"] else ""
    drawn = DrawnPose(
        names=[joint["name"] for joint in joints],
        skeleton=[(a, b) for a, b in model["skeleton"]],
        keypoints_mm=np.array([[j["x_mm"], j["y_mm"], j["z_mm"]] for j in joints]),
        uv_px=np.array([[j["u_px"], j["v_px"]] for j in joints], dtype=np.float64),
        confidence=np.array([joint["confidence"] for joint in joints]),
        center_mm=np.array(answer["cubic_box"]["center_mm"]),
        side_mm=answer["cubic_box"]["side_mm"],
        title=f"{answer['model']} · version {answer['version']}{hand}",
    )
    return picture_png(frame, drawn)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what goes on, and how long it took."""
    start_s = time.monotonic()
    with console.status(f"{what} …"):
        yield
    console.print(f"[green]✓[/] {what} [dim]{time.monotonic() - start_s:.1f} s[/]")


if __name__ == "__main__":
    sys.exit(main())
