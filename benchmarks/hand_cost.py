"""What each part of an answer of the bundled hand costs, and frames a second on two cores.

    python benchmarks/hand_cost.py [--seconds 10]

Parts: one core, one frame (examples/hand.png, 640 x 480), medians. End to end: from the bytes of
the PNG to the pose, by the estimator; one frame after the other with both cores on each, and two
frames at a time with a core each.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from v2vpose.api.decode.checks import Limits
from v2vpose.api.decode.png import decode_png
from v2vpose.backends import TorchDetector
from v2vpose.estimator import Estimator, Localiser, Options
from v2vpose.estimator.aggregated import aggregated
from v2vpose.localise import detections, detector_image, target_crop
from v2vpose.member import STAGES, load_member, reach_mm
from v2vpose.model_store import ModelStore, ModelVersion
from v2vpose.settings import Settings
from v2vpose.values import Aggregate, DepthFrame, Hint, Intrinsics

EXAMPLE: Final = Path(__file__).parents[1] / "examples"
LIMITS: Final = Limits(max_body_bytes=2**24, max_pixels=2**24)
_WARM: Final = 10  # runs that do not count


@dataclass(frozen=True)
class Example:
    """The picture of the demo, and its camera."""

    png: bytes
    intrinsics: Intrinsics

    def frame(self) -> DepthFrame:
        """Decode it, as every request does."""
        return DepthFrame(decode_png(self.png, LIMITS).astype(np.float32), self.intrinsics)


def example() -> Example:
    """Read it."""
    camera = json.loads((EXAMPLE / "hand.json").read_text("utf-8"))
    axes = {name: camera[name] for name in ("fx_px", "fy_px", "cx_px", "cy_px")}
    return Example((EXAMPLE / "hand.png").read_bytes(), Intrinsics(**axes))


def parts_ms(version: ModelVersion, seconds: float) -> dict[str, float]:
    """Return medians on the cores that this process may use; each part runs for so long."""
    picture, manifest = example(), version.manifest
    frame = picture.frame()
    epochs = manifest.epoch_numbers
    members = {epoch: load_member(version, epoch, backend=None, threads=1) for epoch in epochs}
    estimator = Estimator(Localiser.load(version), list(members.values()))
    pose = estimator.estimate(frame)
    net = version.load_detector()
    assert net is not None  # the bundled hand has one
    detector, last = TorchDetector(net), members[epochs[-1]]
    search = Localiser.load(version).search(frame)
    crop = search.in_question[0].crop
    reach = reach_mm(
        side_mm=manifest.side_mm,
        refiner_side_mm=manifest.refiner.side_mm,
        refiner_passes=manifest.refiner.passes,
    )
    point_mm = pose.reference_point.xyz_mm
    answers = list(pose.members.values())

    def detect() -> None:
        heat, depth_m = detector.heat(detector_image(frame))
        detections(heat, depth_m, frame, min_score=0.2)

    ways: Mapping[str, Callable[[], Any]] = {
        "decode PNG": picture.frame,
        "detect": detect,
        "crop": lambda: target_crop(frame, point_mm, side_mm=manifest.side_mm, reach_mm=reach),
        f"judge ({len(search.in_question)} guesses)": lambda: last.estimate(
            [guess.crop for guess in search.in_question], manifest.decode
        ),
        "mean of the ensemble": lambda: aggregated(
            answers, frame.intrinsics, frame.hw, Aggregate.MEAN
        ),
    }
    found = {name: statistics.median(_times_ms(way, seconds)) for name, way in ways.items()}
    stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
    end_s, count = time.perf_counter() + seconds, 0
    while time.perf_counter() < end_s or count <= _WARM:
        said = last.estimate([crop], manifest.decode)
        count += 1
        if count > _WARM:
            for stage, took_s in said.stage_s.items():
                stages[stage].append(took_s * 1e3)
    return found | {f"member: {stage}": statistics.median(ms) for stage, ms in stages.items()}


def _times_ms(way: Callable[[], Any], seconds: float) -> list[float]:
    for _ in range(_WARM):
        way()
    times: list[float] = []
    end_s = time.perf_counter() + seconds
    while not times or time.perf_counter() < end_s:
        start_s = time.perf_counter()
        way()
        times.append((time.perf_counter() - start_s) * 1e3)
    return times


def frames_per_s(
    cores: tuple[int, ...], epochs: tuple[int, ...], *, is_tracked: bool, seconds: float
) -> float:
    """Return how many frames one caller after the other gets, on these cores."""
    _stay_on(cores)
    version, picture = _hand(), example()
    members = [load_member(version, e, backend=None, threads=len(cores)) for e in epochs]
    chosen = [record for record in version.manifest.epochs if record.epoch in epochs]
    alone = ModelVersion(version.manifest.model_copy(update={"epochs": chosen}), version.directory)
    estimator = Estimator(Localiser.load(alone), members)
    options = Options()
    if is_tracked:
        pose = estimator.estimate(picture.frame())
        x, y, z = (float(c) for c in pose.refined_point_mm)
        assert pose.handedness is not None  # it is a hand
        told = Hint(reference_point_mm=(x, y, z))
        options = replace(options, hint=told, handedness=pose.handedness[0])
    times_ms = _times_ms(lambda: estimator.estimate(picture.frame(), options), seconds)
    return 1000 * len(times_ms) / sum(times_ms)


def two_at_a_time(epochs: tuple[int, ...], *, is_tracked: bool, seconds: float) -> float:
    """Return frames a second of two processes with a core each."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        asked = [
            pool.apply_async(
                frames_per_s, ((core,), epochs), {"is_tracked": is_tracked, "seconds": seconds}
            )
            for core in _two_cores()
        ]
        return sum(each.get() for each in asked)


def _two_cores() -> tuple[int, ...]:
    return tuple(sorted(os.sched_getaffinity(0)))[:2]


def _stay_on(cores: tuple[int, ...]) -> None:
    os.sched_setaffinity(0, cores)
    torch.set_num_threads(len(cores))
    cv2.setNumThreads(len(cores))


def _hand() -> ModelVersion:
    return ModelStore(Settings.read().store_path()).open("hand")


def _parts_table(found: Mapping[str, float]) -> Table:
    forward_ms = found["member: forward"]
    table = Table(title="one core, one frame", title_justify="left")
    for name in ("part", "ms", "% of a forward pass"):
        table.add_column(name, justify="left" if name == "part" else "right")
    for part, ms in found.items():
        table.add_row(part, f"{ms:.3f}", f"{100 * ms / forward_ms:.1f}")
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="for each figure (default 10)")
    seconds = parser.parse_args().seconds
    out, cores, version = Console(width=120), _two_cores(), _hand()
    _stay_on(cores[:1])
    out.print(_parts_table(parts_ms(version, seconds)))
    every = version.manifest.epoch_numbers
    table = Table(title="frames a second, from PNG to pose, on two cores", title_justify="left")
    for name in ("checkpoints", "place and hand", "one after the other", "two at a time"):
        table.add_column(name, justify="right")
    for epochs in (every[-1:], every):
        for is_tracked in (True, False):
            one = frames_per_s(cores, epochs, is_tracked=is_tracked, seconds=seconds)
            two = two_at_a_time(epochs, is_tracked=is_tracked, seconds=seconds)
            way = "told (tracking)" if is_tracked else "found in every frame"
            table.add_row(f"{len(epochs)}", way, f"{one:.1f}", f"{two:.1f}")
    out.print(table)


if __name__ == "__main__":
    main()
