"""The job every server is given: a raw 320 x 240 depth map goes in, 21 keypoints come out.

It runs in each peer's own environment, without torch: our voxelization and crops, and the nets
exported to OpenVINO, so that only the serving differs. What to do is in the JSON file that
`PEERS_CONFIG` names; `running.py` writes it.
"""

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ROWS: Final = 240
COLS: Final = 320
KEYPOINTS: Final = 21

Keypoints = NDArray[np.floating[Any]]
Member = Callable[[Sequence[NDArray[np.float32]]], Keypoints]


def config() -> dict[str, Any]:
    """Return what this server was told: kind, members, port, workers, capacity, batch, ..."""
    told: dict[str, Any] = json.loads(Path(os.environ["PEERS_CONFIG"]).read_text("utf-8"))
    return told


def depth_mm(body: bytes) -> NDArray[np.float32]:
    """Return (240, 320) millimetres of a raw body."""
    return np.frombuffer(body, "<u2").reshape(ROWS, COLS).astype(np.float32)


class Job:
    """All members in turn in this process, and their mean.

    Args:
        told: see `config`.
        only: index of the one member to hold; None = all.
    """

    def __init__(self, told: dict[str, Any], only: int | None = None) -> None:
        numbers = range(told["members"]) if only is None else [only]
        self._members = [member(told, number) for number in numbers]
        Path(told["pids"], str(os.getpid())).touch()  # whom the failure suite may kill

    def __call__(self, bodies: Sequence[bytes]) -> Keypoints:
        """Return (B, 21, 3) mm."""
        frames = [depth_mm(body) for body in bodies]
        return np.mean([each(frames) for each in self._members], axis=0)


def member(told: dict[str, Any], number: int) -> Member:
    """Return one member: a null model, a slow one, or an epoch checkpoint."""
    if told["kind"] == "hand":
        return _Checkpoint(told, number)
    nap_s = told["slow_s"] if told["kind"] == "slow" else 0.0

    def constant(frames: Sequence[NDArray[np.float32]]) -> Keypoints:
        if nap_s:
            time.sleep(nap_s)
        return np.full((len(frames), KEYPOINTS, 3), 500.0)

    return constant


@cache
def _peaks_module() -> ModuleType:
    """Return `v2vpose.heatmaps.peaks` without its package, which needs torch."""
    found = importlib.util.find_spec("v2vpose")
    assert found is not None
    assert found.origin is not None
    path = Path(found.origin).parent / "heatmaps" / "peaks.py"
    spec = importlib.util.spec_from_file_location("peers_peaks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class _Checkpoint:
    """One epoch checkpoint as `v2vpose.member` runs it, on exported nets."""

    def __init__(self, told: dict[str, Any], number: int) -> None:
        import openvino as ov

        from v2vpose.values import Intrinsics

        directory = Path(told["export"])
        self._known = json.loads((directory / "export.json").read_text("utf-8"))
        self._camera = Intrinsics(**self._known["intrinsics"])
        core = ov.Core()
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": told["threads"],
            "ENABLE_CPU_PINNING": False,
        }
        fast = told["backend"].removeprefix("openvino-")
        self._v2v, self._refiner = (
            core.compile_model(
                directory / f"{net}-{number % self._known['nets']}.xml",
                "CPU",
                {**options, "INFERENCE_PRECISION_HINT": precision},
            )
            for net, precision in (
                ("v2v", fast),
                ("refiner", "f32"),
            )
        )

    def __call__(self, frames: Sequence[NDArray[np.float32]]) -> Keypoints:
        from v2vpose.geometry.cubic_box import CubicBox, camera_from_heatmap
        from v2vpose.localise import refiner_crop
        from v2vpose.values import Decode
        from v2vpose.voxel import voxelize

        known, side = self._known, self._known["input_side"]
        centers_mm = np.tile(np.array(known["reference_point_mm"]), (len(frames), 1))
        for _ in range(known["refiner_passes"]):
            edge_mm = known["refiner_side_mm"]
            views = np.stack(
                [
                    refiner_crop(frame, self._camera, center, side_mm=edge_mm)
                    for frame, center in zip(frames, centers_mm, strict=True)
                ]
            )
            offsets = np.clip(self._refiner(views[:, None])[0], -1, 1)
            centers_mm = centers_mm + offsets.astype(np.float64) * edge_mm / 2
        boxes = [CubicBox(center, known["side_mm"]) for center in centers_mm]
        grids = np.stack(
            [
                voxelize(frame, self._camera, box, input_side=side)
                for frame, box in zip(frames, boxes, strict=True)
            ]
        )
        heatmaps = self._v2v(grids[:, None].astype(np.float32))[0]
        peaks = _peaks_module()
        cells = peaks.peak_coordinates(peaks.peaks_of(heatmaps), Decode(known["decode"]))
        return np.stack(
            [
                camera_from_heatmap(
                    cell, box, heatmap_side=side // 2, cell_offset=known["cell_offset"]
                )
                for cell, box in zip(cells, boxes, strict=True)
            ]
        )
