"""The servers, and how each is started and asked."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.environments import python_of
from benchmarks.peers.job import COLS, KEYPOINTS, ROWS

Told = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Peer:
    """One server.

    Attributes:
        name: in tables.
        package: whose version is told.
        requirements: of its environment; none = ours.
        command: its arguments after the Python, from what it is told.
        path: where the job is posted.
        ready_path: answers 200 when it is ready.
        body: of one request, from the raw depth map.
        headers: of one request, likewise.
        keypoints: (21, 3) mm of an answer.
        is_ensemble: whether each member is a unit of its own; only run with several.
        may_stop: whether it survives SIGSTOP while another is measured.
    """

    name: str
    package: str
    command: Callable[[Told], list[str]]
    path: Callable[[Told], str]
    ready_path: str
    keypoints: Callable[[bytes, dict[str, str]], NDArray[Any]]
    requirements: tuple[str, ...] = ()
    body: Callable[[bytes], bytes] = lambda raw: raw
    headers: Callable[[bytes], dict[str, str]] = field(
        default=lambda _: {"content-type": "application/octet-stream"}
    )
    is_ensemble: bool = False
    may_stop: bool = True

    def python(self) -> Path:
        """Return the Python that runs it."""
        if not self.requirements:
            return Path(sys.executable)
        return python_of(self.package, self.requirements)


def _module(name: str) -> list[str]:
    return ["-m", f"benchmarks.peers.servers.{name}"]


def _fixed(path: str) -> Callable[[Told], str]:
    return lambda _: path


def _plain(content: bytes, _: dict[str, str]) -> NDArray[Any]:
    return np.array(json.loads(content)["keypoints_mm"])


def _ours_path(told: Told) -> str:
    camera = "&".join(f"{name}={value}" for name, value in told["intrinsics"].items())
    point = ",".join(map(str, told["reference_point_mm"]))
    return (
        f"/v1/estimate?width={COLS}&height={ROWS}&{camera}"
        f"&reference_point_mm={point}&handedness=right"
    )


def _ours_keypoints(content: bytes, _: dict[str, str]) -> NDArray[Any]:
    answer = json.loads(content)
    return np.array([[k["x_mm"], k["y_mm"], k["z_mm"]] for k in answer["keypoints"]])


def _triton_header(raw: bytes) -> bytes:
    return json.dumps(
        {
            "inputs": [
                {
                    "name": "depth", "datatype": "UINT16", "shape": [1, ROWS, COLS],
                    "parameters": {"binary_data_size": len(raw)},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()  # fmt: skip


def _triton_headers(raw: bytes) -> dict[str, str]:
    return {
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(len(_triton_header(raw))),
    }


def _triton_keypoints(content: bytes, headers: dict[str, str]) -> NDArray[Any]:
    values = content[int(headers["inference-header-content-length"]) :]
    return np.frombuffer(values, "<f4").reshape(KEYPOINTS, 3)


def _triton(name: str, *, is_ensemble: bool) -> Peer:
    return Peer(
        name=name,
        package="nvidia-pytriton",
        requirements=("nvidia-pytriton==0.7.0", "numpy<2"),
        command=lambda _: _module("with_triton"),
        path=_fixed("/v2/models/estimate/infer"),
        ready_path="/v2/health/ready",
        body=lambda raw: _triton_header(raw) + raw,
        headers=_triton_headers,
        keypoints=_triton_keypoints,
        is_ensemble=is_ensemble,
    )


PEERS: Final = (
    Peer(
        name="v2vpose",
        package="v2vpose",
        command=lambda _: ["-m", "benchmarks.peers.ours"],
        path=_ours_path,
        ready_path="/readyz",
        keypoints=_ours_keypoints,
    ),
    Peer(
        name="mosec",
        package="mosec",
        requirements=("mosec==0.9.8",),
        command=lambda told: [
            *_module("with_mosec"), "--address", "127.0.0.1", "--port", str(told["port"]),
            "--capacity", str(told["capacity"]), "--timeout", "60000",
        ],
        path=_fixed("/inference"),
        ready_path="/",
        keypoints=_plain,
    ),
    Peer(
        name="LitServe",
        package="litserve",
        requirements=("litserve==0.2.19",),
        command=lambda _: _module("with_litserve"),
        path=_fixed("/predict"),
        ready_path="/health",
        body=lambda raw: json.dumps({"depth": base64.b64encode(raw).decode()}).encode(),
        headers=lambda _: {"content-type": "application/json"},
        keypoints=_plain,
    ),
    Peer(
        name="BentoML",
        package="bentoml",
        requirements=("bentoml==1.4.39",),
        command=lambda told: [
            "-m", "bentoml", "serve", "benchmarks.peers.servers.with_bentoml:Estimate",
            "--host", "127.0.0.1", "--port", str(told["port"]),
        ],
        path=_fixed("/estimate"),
        ready_path="/readyz",
        keypoints=_plain,
    ),
    Peer(
        name="Ray Serve",
        package="ray",
        requirements=("ray[serve]==2.60.0",),
        command=lambda _: _module("with_ray"),
        path=_fixed("/estimate"),
        ready_path="/-/healthz",
        keypoints=_plain,
        may_stop=False,
    ),
    _triton("Triton", is_ensemble=False),
    _triton("Triton ensemble", is_ensemble=True),
)  # fmt: skip


def version_of(peer: Peer) -> str:
    """Return the package of a peer and its version in the peer's environment."""
    code = f"import importlib.metadata as m; print(m.version({peer.package!r}))"
    ran = subprocess.run([peer.python(), "-c", code], capture_output=True, text=True, check=True)
    return f"{peer.package} {ran.stdout.strip()}"
