"""The real service in its own process, on real ports, over the real engine; and a frame for it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.frames import CAMERA, sphere_frame
from tests.stores import write_tiny_store
from v2vpose.api.decode import Encoding, encode_frame
from v2vpose.estimator import Estimator
from v2vpose.values import DepthFrame

ROOT = Path(__file__).parents[2]
BALL = (10.0, 20.0, 500.0)
INTRINSICS = {
    "fx_px": CAMERA.fx_px, "fy_px": CAMERA.fy_px, "cx_px": CAMERA.cx_px, "cy_px": CAMERA.cy_px,
}  # fmt: skip
UNITS = np.round(sphere_frame(BALL, wall_mm=900.0).depth_mm * 4).astype(np.uint16)
FRAME = DepthFrame(UNITS.astype(np.float32) * np.float32(0.25), CAMERA)
PNG = encode_frame(UNITS, Encoding.PNG16)
START_LIMIT_S = 300.0  # seconds on an idle machine


@dataclass
class Running:
    """A service in its own process."""

    process: subprocess.Popen[bytes]
    url: str
    grpc_address: str
    estimator: Estimator
    store: Path


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    version = write_tiny_store(tmp_path_factory.mktemp("store"), epochs=2)
    log = tmp_path_factory.mktemp("log") / "service.log"
    http, rpc = _free_ports()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "service"),
        "V2VPOSE_DRAIN_DELAY_S": "0.2",
        "V2VPOSE_BACKEND": "torch",
        "V2VPOSE_ADMIN_KEY": "boss",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "v2vpose", "serve", "--http-port", str(http),
                "--grpc-port", str(rpc), "--store", version.directory.parents[1],
            ],
            env=environment, stdout=output, stderr=output,
        )  # fmt: skip
    url = f"http://127.0.0.1:{http}"
    try:
        _wait_until_ready(url, process, log)
        estimator = Estimator.load(version, backend="torch")
        yield Running(process, url, f"127.0.0.1:{rpc}", estimator, version.directory.parents[1])
    finally:
        process.kill()
        process.wait()


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end_s and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    pytest.fail(f"the service did not become ready:\n{log.read_text()}")
