"""What smoothing a stream takes off a hand at rest, and how late it makes a hand that moves.

    python benchmarks/smoothing.py --png docs/images/smoothing.png

Jitter is the model's own: held-out generated hands are seen by a sensor again and again, with fresh
noise, and located anew around the pose before, as in a stream. The same jitter then rides on a hand
that swings 300 mm to and fro. Lag is the delay at which the smoothed joints come nearest to the
true path.
"""

import argparse
import math
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from v2vpose.api.smoothing import OneEuroFilter, Smoothing
from v2vpose.datasets.synthetic import SyntheticHands
from v2vpose.datasets.synthetic.noise import sample_noise
from v2vpose.datasets.synthetic.sensor import observe
from v2vpose.estimator import Estimator, Options
from v2vpose.model_store import ModelStore
from v2vpose.settings import Settings
from v2vpose.values import DepthFrame, FloatArray, Hint

HZ: Final = 30.0
REACH_MM: Final = 150.0
TOP_SPEEDS_MM_PER_S: Final = (50.0, 200.0, 500.0, 1500.0)
CHOICES: Final = (
    Smoothing(),
    Smoothing(min_cutoff_hz=2.0, cutoff_per_speed=0.02),
    Smoothing(min_cutoff_hz=1.0, cutoff_per_speed=0.02),
    Smoothing(min_cutoff_hz=0.5, cutoff_per_speed=0.02),
    Smoothing(min_cutoff_hz=1.0, cutoff_per_speed=0.005),
)
_SETTLED: Final = 15  # frames
_SECONDS: Final = 8.0  # of a swing


class Swing(NamedTuple):
    """One speed: how late, and how far from the true path, in mm."""

    lag_ms: float
    raw_mm: float
    smoothed_mm: float


class Figures(NamedTuple):
    """One choice: jitter of joints at rest in mm, and what it does to swings."""

    smoothing: Smoothing
    raw_mm: float
    smoothed_mm: float
    swings: tuple[Swing, ...]


def jitter(*, hands: int, frames: int) -> FloatArray:
    """Return (hands, frames, K, 3) mm: joints of hands at rest, less their mean over time."""
    version = ModelStore(Settings.read().store_path()).open("hand")
    estimator = Estimator.load(version)
    source = SyntheticHands(split="held_out", seed=6)
    tracks = []
    for index in track(range(hands), "hands at rest", console=Console(stderr=True)):
        hand = source.frame(index)
        crisp = np.where(hand.depth_mm > 0, hand.depth_mm, np.inf).astype(np.float32)
        noise = sample_noise(np.random.default_rng(index), held_out=True)
        middle_mm = (hand.keypoints_mm.min(axis=0) + hand.keypoints_mm.max(axis=0)) / 2
        joints = []
        for seed in range(frames):
            focal_px, labels = hand.intrinsics.fx_px, np.zeros(crisp.shape, np.uint8)
            seen = DepthFrame(observe(crisp, labels, focal_px, noise, seed), hand.intrinsics)
            x, y, z = (float(c) for c in middle_mm)
            told = Options(hint=Hint(reference_point_mm=(x, y, z)), handedness=hand.handedness)
            joints.append(estimator.estimate(seen, told).keypoints_mm)
            middle_mm = (joints[-1].min(axis=0) + joints[-1].max(axis=0)) / 2
        tracks.append(np.stack(joints) - np.mean(joints, axis=0))
    return np.stack(tracks)


def smoothed(points_mm: FloatArray, smoothing: Smoothing) -> FloatArray:
    """Return (T, K, 3) points, 1 / HZ apart, as a stream answers them."""
    one = OneEuroFilter(smoothing)
    return np.stack([one.smoothed(points, after_s=1 / HZ) for points in points_mm])


def swing(jitter_mm: FloatArray, top_speed: float, smoothing: Smoothing) -> Swing:
    """Measure one speed. jitter_mm: (hands, T, K, 3); played to and fro while the swing lasts."""
    frames = int(_SECONDS * HZ)
    there_and_back = np.concatenate([jitter_mm, jitter_mm[:, ::-1]], axis=1)
    index = np.arange(frames) % there_and_back.shape[1]
    path_mm = _path(np.arange(frames) / HZ, top_speed)  # (T, 1, 3)
    raw_mm = path_mm + there_and_back[:, index]
    found_mm = np.stack([smoothed(each, smoothing) for each in raw_mm])
    late_s = np.arange(0.0, 0.4, 0.001)
    apart = [
        _apart_mm(found_mm, _path(np.arange(frames) / HZ - late, top_speed)) for late in late_s
    ]
    return Swing(
        lag_ms=float(late_s[int(np.argmin(apart))]) * 1000,
        raw_mm=_apart_mm(raw_mm, path_mm),
        smoothed_mm=_apart_mm(found_mm, path_mm),
    )


def measure(jitter_mm: FloatArray, smoothing: Smoothing) -> Figures:
    """Measure one choice at rest and at every speed."""
    at_rest = np.stack([smoothed(each, smoothing) for each in jitter_mm])
    return Figures(
        smoothing,
        _shake_mm(jitter_mm),
        _shake_mm(at_rest),
        tuple(swing(jitter_mm, speed, smoothing) for speed in TOP_SPEEDS_MM_PER_S),
    )


def _path(time_s: FloatArray, top_speed: float) -> FloatArray:
    turn = time_s * top_speed / REACH_MM
    path: FloatArray = (REACH_MM * np.sin(turn))[:, None, None] * np.array([1.0, 0.0, 0.0])
    return path


def _apart_mm(found_mm: FloatArray, path_mm: FloatArray) -> float:
    return float(np.linalg.norm((found_mm - path_mm)[:, _SETTLED:], axis=-1).mean())


def _shake_mm(points_mm: FloatArray) -> float:
    """Root mean square distance of a joint from where it was in the frame before."""
    steps = np.diff(points_mm[:, _SETTLED:], axis=1)
    return math.sqrt(float((steps**2).sum(axis=-1).mean()))


def _table(rows: list[Figures]) -> Table:
    table = Table(title=f"at {HZ:g} frames a second", title_justify="left")
    for name in ("min_cutoff_hz", "cutoff_per_speed", "at rest, mm from frame to frame"):
        table.add_column(name, justify="right")
    for speed in TOP_SPEEDS_MM_PER_S:
        table.add_column(f"{speed:g} mm/s: lag ms, mm off", justify="right")
    for row in rows:
        table.add_row(
            f"{row.smoothing.min_cutoff_hz:g}",
            f"{row.smoothing.cutoff_per_speed:g}",
            f"{row.raw_mm:.2f} -> {row.smoothed_mm:.2f}",
            *(f"{s.lag_ms:.0f}, {s.raw_mm:.1f} -> {s.smoothed_mm:.1f}" for s in row.swings),
        )
    return table


def _draw(path: Path, jitter_mm: FloatArray) -> None:
    """Draw one joint at rest that then moves by 100 mm, raw and smoothed."""
    from matplotlib.figure import Figure  # takes a second

    one = jitter_mm[0]
    time_s = np.arange(len(one)) / HZ
    moved = np.clip((time_s - time_s[-1] / 2) * 500, 0, 100)[:, None, None]
    raw_mm = one + moved * np.array([1.0, 0.0, 0.0])
    figure = Figure(figsize=(7, 3), dpi=90, layout="constrained")
    axes = figure.subplots()
    axes.plot(time_s, raw_mm[:, 4, 0], color="0.6", label="as estimated")
    axes.plot(time_s, smoothed(raw_mm, Smoothing())[:, 4, 0], color="C3", label="smoothed")
    axes.set(xlabel="s", ylabel="index tip, x in mm")
    axes.legend(frameon=False)
    figure.savefig(path)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hands", type=int, default=12, help="hands at rest (default 12)")
    parser.add_argument("--frames", type=int, default=90, help="frames of each (default 90)")
    parser.add_argument("--png", type=Path, help="draw one joint into this file")
    given = parser.parse_args()
    jitter_mm = jitter(hands=given.hands, frames=given.frames)
    out = Console(width=200)
    out.print(_table([measure(jitter_mm, smoothing) for smoothing in CHOICES]))
    if given.png is not None:
        _draw(given.png, jitter_mm)


if __name__ == "__main__":
    main()
