"""What runs the nets here, unless it is told: CUDA, else OpenVINO in its faster precision.

Half the bytes are not always half the time. A processor with matrix units (AMX) runs bf16 several
times faster than float32; one that has bf16 instructions only (AVX-512) may run it at half the
speed. So both are tried, with a net of the model's shape and weights that do not matter.
"""

import importlib.util
import os
import subprocess
import sys
import time
from functools import cache
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import torch

from v2vpose.nets import Refiner, build_v2v

BackendName: TypeAlias = Literal["openvino-f32", "openvino-bf16", "torch", "cuda"]
BackendWish: TypeAlias = BackendName | Literal["openvino"]
_BF16_GAIN: Final = 1.1  # bf16 must be this much faster: float32 is the reference's precision
_LEAST_ROUNDS: Final = 3
_LEAST_S: Final = 1.0  # the quicker the net, the more a neighbour disturbs one run
_TRIAL: Final = "v2vpose.backends.trial"


class NetShape(NamedTuple):
    """What the speed of a V2V net depends on."""

    num_keypoints: int
    width: int
    input_side: int


def chosen_backend(
    shape: NetShape, wish: BackendWish | None = None, *, threads: int, is_apart: bool
) -> BackendName:
    """Return what to run.

    Args:
        shape: of the model's V2V net.
        wish: what somebody asked for; None = the fastest here.
        threads: that OpenVINO may use; 0 = all.
        is_apart: whether to try OpenVINO in a process of its own, so that it is not loaded here.
    """
    if wish is None and torch.cuda.is_available():
        return "cuda"
    if wish is None and importlib.util.find_spec("openvino") is None:
        return "torch"
    if wish is None or wish == "openvino":
        return _tried_apart(shape, threads) if is_apart else faster_openvino(shape, threads)
    return wish


@cache
def faster_openvino(shape: NetShape, threads: int) -> BackendName:
    """Run one grid in each precision for a second, in turns; return the faster one."""
    from v2vpose.backends.openvino_backend import OpenVINOBackend  # noqa: PLC0415  # an extra

    v2v = build_v2v(shape.num_keypoints, width=shape.width)
    grid = np.random.default_rng(0).random((1, *[shape.input_side] * 3)) < 0.02  # (1, S, S, S)
    occupancy = grid.astype(np.uint8)
    f32, bf16 = (
        OpenVINOBackend(
            v2v, Refiner(), input_side=shape.input_side, precision=precision, threads=threads
        )
        for precision in ("f32", "bf16")
    )

    def seconds(backend: OpenVINOBackend) -> float:
        begin_s = time.perf_counter()
        backend.peaks(occupancy)
        return time.perf_counter() - begin_s

    for backend in (f32, bf16):
        seconds(backend)  # the first run is not like the others
    begin_s = time.perf_counter()
    turns: list[tuple[float, float]] = []
    while len(turns) < _LEAST_ROUNDS or time.perf_counter() - begin_s < _LEAST_S:
        turns.append((seconds(f32), seconds(bf16)))
    f32_s, bf16_s = np.min(turns, axis=0)
    return "openvino-bf16" if f32_s > _BF16_GAIN * bf16_s else "openvino-f32"


@cache
def _tried_apart(shape: NetShape, threads: int) -> BackendName:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OMP_NUM_THREADS": str(threads or os.cpu_count()),
    }
    tried = subprocess.run(  # noqa: S603 - our own module, no shell
        [sys.executable, "-P", "-m", _TRIAL, *map(str, shape), str(threads)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment,
        check=True,
        text=True,
    )
    found = tried.stdout.split()[-1]
    return next(name for name in get_args(BackendName) if name == found)
