"""One training run: a set, a recipe, a place for checkpoints and a place for the journal."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from v2vpose.training.data import TrainingSet
from v2vpose.training.fit import fit
from v2vpose.training.journal import CURVE_FILE, LOG_FILE, Row
from v2vpose.training.machine import Machine
from v2vpose.training.overlays import draw_overlays
from v2vpose.training.publish import check_place, warm_start, write_version
from v2vpose.training.trainees import Trainees
from v2vpose.training.watch import Watched


def train(
    data: TrainingSet,
    out: Path,
    run: Path,
    *,
    machine: Machine,
    start: Path | None,
    command: str,
) -> Sequence[Row]:
    """Train on a set, going on if `run` has begun; return the rows of its log.

    Args:
        data: the set and the recipe.
        out: `<store>/<model>/<version>` of the checkpoints.
        run: directory of state, journal and overlays.
        machine: what it computes on.
        start: a version of the store to start from, or None.
        command: for the manifest.

    Raises:
        InvalidFieldError: see `check_place`, `load_state`, `warm_start`.
    """
    check_place(out, run)
    machine.share(data.recipe.batch)
    machine.share(data.recipe.refiner_batch)
    machine.check_side(data.recipe.input_side)
    record: dict[str, Any] = {
        "command": command,
        "data": data.frames.origin,
        "left_out": data.skipped,
        "watched": data.watched,
        "started_from": None if start is None else f"{start.parent.name}/{start.name}",
        "processes": machine.ranks,
        "device": machine.device.type,
        "bf16": machine.bf16,
    }

    def warm(trainees: Trainees) -> None:
        if start is not None:
            warm_start(trainees, start, data)

    def keep(epoch: int, trainees: Trainees, watched: Watched) -> None:
        write_version(out, epoch, trainees, data, record)
        title = f"epoch {epoch}: mean {watched.figures['subvoxel_mm']:.1f} mm (green: truth)"
        path = run / "overlays" / f"epoch-{epoch:02d}.png"
        draw_overlays(data.held, watched.keypoints_mm, data.skeleton, path, title)

    _, rows = fit(
        data.frames, data.held, data.recipe, run, machine=machine, warm=warm, on_epoch=keep
    )
    if machine.is_first:
        for name in (LOG_FILE, CURVE_FILE):
            shutil.copyfile(run / name, out / name)
    return rows
