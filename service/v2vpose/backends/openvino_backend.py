"""OpenVINO: the default on a CPU, in the precision that is faster there (extra `cpu`).

OpenVINO's converter phones home: where it cannot, it forks the process and ends the fork with a
SIGTERM, which the service takes for its own. Without the telemetry package it uses a stub.
"""

import sys
import threading
import warnings
from dataclasses import replace
from typing import Final, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from v2vpose.heatmaps import Peaks, peaks_of, slices_through
from v2vpose.nets import Refiner, V2VNet
from v2vpose.values import FloatArray

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: not there
import openvino as ov  # noqa: E402

Precision: TypeAlias = Literal["bf16", "f32"]
_REFINER_PX: Final = 128


class OpenVINOBackend:
    """Runs both nets with OpenVINO.

    Args:
        v2v: the V2V net, evaluation mode.
        refiner: the refiner, likewise.
        input_side: voxels a side.
        precision: of the V2V net; the refiner always runs in float32, it is nearly free.
        threads: cores to use; 0 = all.
    """

    def __init__(
        self,
        v2v: V2VNet,
        refiner: Refiner,
        *,
        input_side: int,
        precision: Precision,
        threads: int = 0,
    ) -> None:
        grid = torch.zeros(1, 1, input_side, input_side, input_side)
        crop = torch.zeros(1, 1, _REFINER_PX, _REFINER_PX)
        self._v2v = _compiled(v2v, grid, precision, threads)
        self._refiner = _compiled(refiner, crop, "f32", threads)
        self._calling = threading.Lock()  # a compiled model answers one call at a time

    def offsets(self, crops: NDArray[np.float32]) -> FloatArray:
        """See `Backend.offsets`."""
        with self._calling:
            answer: FloatArray = self._refiner(crops[:, None])[0].astype(np.float64)
        return answer

    def peaks(self, occupancy: NDArray[np.uint8], *, with_slices: bool = False) -> Peaks:
        """See `Backend.peaks`."""
        with self._calling:
            heatmaps = self._v2v(occupancy[:, None].astype(np.float32))[0]  # (B, K, S, S, S)
            peaks = peaks_of(heatmaps)
            if not with_slices:
                return peaks
            return replace(peaks, slices=slices_through(heatmaps, peaks.zyx_cell))


def _compiled(
    net: nn.Module, example: torch.Tensor, precision: Precision, threads: int
) -> ov.CompiledModel:
    """Convert a net with a free batch size and compile it for the CPU."""
    with warnings.catch_warnings():  # OpenVINO still traces, which torch calls deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        model = ov.convert_model(net.eval(), example_input=example)
    model.reshape([-1, *example.shape[1:]])
    return ov.Core().compile_model(
        model,
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # workers of one thread would all sit on the first core
        },
    )
