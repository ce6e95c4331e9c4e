"""What the servers share: one depth map, model stores of one and ten members, and exported nets.

The bundled hand has five epoch checkpoints; the ensemble of ten holds each of them twice.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from benchmarks.peers.environments import cache
from benchmarks.peers.job import COLS, ROWS
from v2vpose.backends import chosen_backend
from v2vpose.backends.choice import faster_openvino
from v2vpose.estimator import Estimator
from v2vpose.member import net_shape
from v2vpose.model_store import ModelStore, ModelVersion
from v2vpose.values import DepthFrame, Handedness, Intrinsics

ROOT: Final = Path(__file__).parents[2]
MEMBERS: Final = (1, 10)
_MODEL: Final = "hand"


@dataclass(frozen=True, slots=True)
class Shared:
    """What `exported` made.

    Attributes:
        raw: 320 x 240 depth map, millimetres, 16-bit little-endian.
        told: what every server is told of it.
        stores: our model store, by number of members.
    """

    raw: bytes
    told: dict[str, Any]
    stores: dict[int, Path]


def exported() -> Shared:
    """Make what is missing, and return all of it."""
    version = ModelStore(ROOT / "model_store").open(_MODEL)
    frame = _frame()
    directory = cache() / "export" / _digest(version)
    if not (directory / "export.json").exists():
        print(f"exporting {_MODEL} {version.manifest.version} into {directory}", flush=True)
        shutil.rmtree(directory, ignore_errors=True)
        (directory / "partial").mkdir(parents=True)
        _export(version, frame, directory / "partial")
        for path in (directory / "partial").iterdir():
            path.rename(directory / path.name)
    known = json.loads((directory / "export.json").read_text("utf-8"))
    told = {
        "backend": faster_openvino(net_shape(version.manifest), 2),
        "export": str(directory),
        "intrinsics": known["intrinsics"],
        "reference_point_mm": known["reference_point_mm"],
    }
    stores = {members: directory / f"store-{members}" for members in MEMBERS}
    return Shared(frame.depth_mm.astype("<u2").tobytes(), told, stores)


def _frame() -> DepthFrame:
    """Return every other pixel of the example."""
    pixels = cv2.imread(str(ROOT / "examples/hand.png"), cv2.IMREAD_UNCHANGED)[::2, ::2]
    assert pixels.shape == (ROWS, COLS), pixels.shape
    camera = json.loads((ROOT / "examples/hand.json").read_text("utf-8"))
    unit_mm = camera.pop("depth_unit_mm")
    intrinsics = Intrinsics(**{name: value / 2 for name, value in camera.items()})
    return DepthFrame(np.round(pixels * unit_mm).astype(np.float32), intrinsics)


def _digest(version: ModelVersion) -> str:
    files = [version.directory / "manifest.json", ROOT / "examples/hand.png", Path(__file__)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def _export(version: ModelVersion, frame: DepthFrame, directory: Path) -> None:
    """Write the stores, the nets, and what `job` must know of them."""
    manifest = version.manifest
    found = Estimator.load(version).estimate(frame)
    if found.handedness is None or found.handedness[0] is not Handedness.RIGHT:
        raise ValueError(f"the example must show a right hand, found {found.handedness}")
    if manifest.conventions.ray_offset:
        raise ValueError("job.py does not know ray offsets")
    for members in MEMBERS:
        _write_store(version, members, directory / f"store-{members}")
    epochs = manifest.epoch_numbers
    for number, epoch in enumerate(epochs):
        _write_nets(version, epoch, number, directory)
    backend = chosen_backend(net_shape(manifest), "openvino", threads=1, is_apart=True)
    known = {
        "precision": backend.removeprefix("openvino-"),
        "intrinsics": {
            name: getattr(frame.intrinsics, name) for name in ("fx_px", "fy_px", "cx_px", "cy_px")
        },
        "reference_point_mm": [round(float(c), 1) for c in found.reference_point.xyz_mm],
        "input_side": manifest.input_side,
        "side_mm": manifest.side_mm,
        "refiner_side_mm": manifest.refiner.side_mm,
        "refiner_passes": manifest.refiner.passes,
        "cell_offset": manifest.conventions.label.cell_offset,
        "decode": manifest.decode.value,
        "model": f"{manifest.model} {manifest.version}",
        "nets": len(epochs),
    }
    (directory / "export.json").write_text(json.dumps(known, indent=2), "utf-8")


def _write_store(version: ModelVersion, members: int, root: Path) -> None:
    """Write a store whose ensemble has so many members; its weights are links."""
    manifest = json.loads((version.directory / "manifest.json").read_text("utf-8"))
    target = root / _MODEL / "1"
    target.mkdir(parents=True)
    records = manifest["epochs"]
    chosen = []
    for number in range(members):
        record = records[number % len(records)]
        chosen.append({**record, "epoch": number + 1})
        link = target / record["file"]
        if not link.exists():
            link.symlink_to(version.directory / record["file"])
    manifest |= {"version": "1", "epochs": chosen, "detector": None, "judge": None}
    (target / "manifest.json").write_text(json.dumps(manifest), "utf-8")


def _write_nets(version: ModelVersion, epoch: int, number: int, directory: Path) -> None:
    import openvino as ov
    import torch

    v2v, refiner = version.load_epoch(epoch)
    side = version.manifest.input_side
    nets = {"v2v": (v2v, (1, 1, side, side, side)), "refiner": (refiner, (1, 1, 128, 128))}
    for name, (net, shape) in nets.items():
        model = ov.convert_model(net.eval(), example_input=torch.zeros(shape))
        model.reshape([-1, *shape[1:]])
        ov.save_model(model, directory / f"{name}-{number}.xml", compress_to_fp16=False)
