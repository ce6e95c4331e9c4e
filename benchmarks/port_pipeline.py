"""The published PyTorch port's way of working against our estimator, on the same frames.

    python benchmarks/port_pipeline.py [--frames 5] [--seconds 60] [--members 2]

The port's way, written anew from the description of the method: for every model in turn, all pixels
reprojected and voxelized in NumPy, a float32 forward pass in PyTorch, argmax, warp; then the mean.
It has no refiner: its centres come from a file, so here it gets the centres that our members
refined, at no cost. Conventions are ours on both sides, or the answers could not be equal; they are
compared with our float32 reference first. Times are interleaved, frame by frame.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from v2vpose.estimator import Estimator, Options
from v2vpose.model_store import ModelStore, ModelVersion, write_epoch, write_manifest
from v2vpose.nets import Refiner, V2VNet, build_v2v
from v2vpose.values import Decode, DepthFrame, Handedness, Hint, Intrinsics

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "benchmarks" / "results" / "port_pipeline.json"
SAME_MM: Final = 0.1
PAPER: Final = "paper net, 88^3"
COMPACT: Final = "bundled hand"


class PortsWay:
    """Every model in turn, each from the depth map on."""

    def __init__(self, version: ModelVersion) -> None:
        self._manifest = version.manifest
        self._nets: dict[int, V2VNet] = {
            epoch: version.load_epoch(epoch)[0] for epoch in self._manifest.epoch_numbers
        }

    def estimate(self, frame: DepthFrame, centers_mm: dict[int, Any]) -> NDArray[np.float64]:
        """Return (K, 3) mm; the centres are by epoch."""
        poses = []
        for epoch, net in self._nets.items():
            grid = self._voxels(frame, centers_mm[epoch])
            with torch.no_grad():
                heatmaps = net(torch.from_numpy(grid)[None, None])[0].numpy()
            poses.append(self._keypoints(heatmaps, centers_mm[epoch]))
        return np.mean(poses, axis=0)

    def _voxels(self, frame: DepthFrame, center_mm: NDArray[Any]) -> NDArray[np.float32]:
        side, edge_mm, camera = self._manifest.input_side, self._manifest.side_mm, frame.intrinsics
        rows, cols = frame.hw
        u, v = np.meshgrid(np.arange(cols), np.arange(rows))
        z = frame.depth_mm.astype(np.float64)
        x = (u - camera.cx_px) * z / camera.fx_px
        y = (v - camera.cy_px) * z / camera.fy_px
        points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
        index = np.floor((points - center_mm) * side / edge_mm + side / 2)
        inside = np.all((index >= 0) & (index < side), axis=1) & (points[:, 2] > 0)
        i, j, k = index[inside].astype(np.int32).T
        grid = np.zeros((side, side, side), np.float32)
        grid[k, j, i] = 1
        return grid

    def _keypoints(
        self, heatmaps: NDArray[np.float32], center_mm: NDArray[Any]
    ) -> NDArray[np.float64]:
        cells = heatmaps.shape[-1]
        peaks = heatmaps.reshape(len(heatmaps), -1).argmax(axis=1)
        zyx = np.stack(np.unravel_index(peaks, heatmaps.shape[1:]), axis=-1)
        return center_mm + self._manifest.side_mm * ((zyx[:, ::-1] + 0.5) / cells - 0.5)


@dataclass(frozen=True, slots=True)
class Scene:
    """A model version and frames for it, with what our reference says of them."""

    version: ModelVersion
    frames: Sequence[DepthFrame]
    options: Options


def frames_and_options(count: int) -> tuple[list[DepthFrame], Options]:
    """Return the example with a little noise, 640 x 480, and its hint."""
    pixels = cv2.imread(str(ROOT / "examples/hand.png"), cv2.IMREAD_UNCHANGED).astype(np.float32)
    camera = json.loads((ROOT / "examples/hand.json").read_text("utf-8"))
    depth_mm = pixels * np.float32(camera.pop("depth_unit_mm"))
    intrinsics = Intrinsics(**camera)
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(count):
        noise = rng.normal(0, 1, depth_mm.shape).astype(np.float32)
        noisy = np.where(depth_mm > 0, np.maximum(depth_mm + noise, 1), 0)
        frames.append(DepthFrame(noisy.astype(np.float32), intrinsics))
    hint = Hint(reference_point_mm=(-198.3, -20.6, 764.0))
    return frames, Options(hint=hint, handedness=Handedness.RIGHT, decode=Decode.ARGMAX)


def paper_version(root: Path, members: int) -> ModelVersion:
    """Write the paper's net with random weights; time does not depend on them."""
    torch.manual_seed(0)
    known = ModelStore(ROOT / "model_store").open("hand").manifest
    directory = root / "paper" / "1"
    records = []
    for epoch in range(1, members + 1):
        v2v = build_v2v(len(known.keypoints))
        for parameter in v2v.parameters():
            if parameter.ndim > 1:
                torch.nn.init.kaiming_normal_(parameter)
        records.append(
            write_epoch(directory, epoch, v2v=v2v, refiner=Refiner(), conventions=known.conventions)
        )
    changed = {
        "model": "paper", "version": "1", "input_side": 88, "epochs": records, "detector": None,
        "judge": None, "width": 16,
    }  # fmt: skip
    write_manifest(directory, known.model_copy(update=changed))
    return ModelStore(root).open("paper")


def compared(scene: Scene, seconds: float) -> dict[str, Any]:
    """Check that the answers are equal, then time both ways in turns."""
    reference = Estimator.load(scene.version, backend="torch")
    ours, port = Estimator.load(scene.version), PortsWay(scene.version)
    centers, apart_mm, fast_mm = [], 0.0, []
    for frame in scene.frames:
        pose = reference.estimate(frame, scene.options)
        centers.append({epoch: a.refined_point_mm for epoch, a in pose.members.items()})
        found = port.estimate(frame, centers[-1])
        apart_mm = max(apart_mm, float(np.linalg.norm(found - pose.keypoints_mm, axis=1).max()))
        quick = ours.estimate(frame, scene.options).keypoints_mm
        fast_mm.append(np.linalg.norm(quick - pose.keypoints_mm, axis=1))
    if apart_mm > SAME_MM:
        raise ValueError(f"the answers differ by {apart_mm:.3f} mm, at most {SAME_MM} is equal")
    times: dict[str, list[float]] = {"port": [], "ours": []}
    end_s, turn = time.monotonic() + seconds, 0
    while time.monotonic() < end_s or turn < 2:
        at = turn % len(scene.frames)
        frame, known = scene.frames[at], centers[at]
        times["port"].append(_seconds(lambda f=frame, k=known: port.estimate(f, k)))
        times["ours"].append(_seconds(lambda f=frame: ours.estimate(f, scene.options)))
        turn += 1
    medians = {way: statistics.median(each) for way, each in times.items()}
    return {
        "members": len(scene.version.manifest.epochs),
        "turns": turn,
        "apart_mm": apart_mm,
        "fast_backend_median_mm": float(np.median(fast_mm)),
        "fast_backend_most_mm": float(np.max(fast_mm)),
        "frames_per_s": {way: 1 / median for way, median in medians.items()},
        "spread_s": {
            way: [float(np.percentile(each, p)) for p in (5, 95)] for way, each in times.items()
        },
        "ratio": medians["port"] / medians["ours"],
    }


def _seconds(work: Callable[[], Any]) -> float:
    start_s = time.perf_counter()
    work()
    return time.perf_counter() - start_s


def main() -> None:
    """Compare at both sizes; ratios first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each size")
    parser.add_argument("--members", type=int, default=2, help="of the paper's net")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    frames, options = frames_and_options(asked.frames)
    with tempfile.TemporaryDirectory() as folder:
        versions = {
            PAPER: paper_version(Path(folder), asked.members),
            COMPACT: ModelStore(ROOT / "model_store").open("hand"),
        }
        results = {
            name: compared(Scene(version, frames, options), asked.seconds)
            for name, version in versions.items()
        }
    slowest = results[PAPER]["frames_per_s"]["port"] * results[PAPER]["members"]
    table = Table(title="640 x 480 frames; port's way / ours, equal answers (float32)")
    for column in ("net", "ours / port", "ours / port at 88^3, per member", "ours fps", "port fps",
                   "apart mm", "fast backend, median / most mm"):  # fmt: skip
        table.add_column(column, justify="left" if column == "net" else "right")
    for name, found in results.items():
        fps = found["frames_per_s"]
        found["ratio_to_port_at_88"] = fps["ours"] * found["members"] / slowest
        table.add_row(
            f"{name}, {found['members']} members", f"{found['ratio']:.1f}",
            f"{found['ratio_to_port_at_88']:.1f}", f"{fps['ours']:.2f}", f"{fps['port']:.2f}",
            f"{found['apart_mm']:.4f}",
            f"{found['fast_backend_median_mm']:.3f} / {found['fast_backend_most_mm']:.2f}",
        )  # fmt: skip
    Console().print(table)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(results, indent=1), "utf-8")


if __name__ == "__main__":
    main()
