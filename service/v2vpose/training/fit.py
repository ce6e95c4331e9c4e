"""One readable loop: blocks in, epoch checkpoints out.

A run can be killed at any moment; the same call goes on from the last saved state, and every later
loss is the one that it would have been. All chance comes from the place in the run: frames and
augmentation in `stream`, dropout from the seed that is set before each block.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from v2vpose.errors import InvalidModelError
from v2vpose.training.journal import Journal, Row
from v2vpose.training.machine import Machine
from v2vpose.training.recipe import Recipe
from v2vpose.training.samples import Block, TrainingFrame
from v2vpose.training.state import Progress, load_state, save_state
from v2vpose.training.stream import BlockStream, Schedule, blocks
from v2vpose.training.trainees import Trainees
from v2vpose.training.watch import Held, Watched, watch

ROWS_AN_EPOCH: Final = 4
_SAVE_EVERY_S: Final = 600.0


class Frames(Protocol):
    """A training set as an endless sequence of passes."""

    @property
    def origin(self) -> str:
        """What it is, in words; a resumed run must have the same."""
        ...

    def __len__(self) -> int:
        """Frames a pass."""
        ...

    def frame(self, place: int) -> TrainingFrame:
        """Return the frame at a place of the sequence, always the same one."""
        ...


def fit(
    frames: Frames,
    held: Held,
    recipe: Recipe,
    run: Path,
    *,
    machine: Machine,
    warm: Callable[[Trainees], None],
    on_epoch: Callable[[int, Trainees, Watched], None],
) -> tuple[Trainees, Sequence[Row]]:
    """Train the nets, continuing where `run` stopped; return them and the rows of the log.

    Args:
        frames: the training set.
        held: frames to watch the run by; nothing is chosen by them.
        recipe: every number of the run.
        run: directory of state and journal.
        machine: what it computes on.
        warm: fills the nets of a run that begins.
        on_epoch: called with each finished epoch, by the first process.
    """
    schedule = Schedule(len(frames), recipe.block, recipe.batch, machine.ranks)
    trainees = Trainees.fresh(recipe, held.keypoints_mm.shape[1], machine)
    progress = load_state(run, trainees, frames.origin, recipe)
    if not progress.blocks:
        warm(trainees)
    first = progress.blocks
    stream = BlockStream(frames.frame, recipe, schedule, first=first, rank=machine.rank)
    total = recipe.epochs * schedule.epoch_blocks
    row_blocks = max(1, schedule.epoch_blocks // ROWS_AN_EPOCH)
    saved_s = time.monotonic()
    with _bar(shown=machine.is_first) as bar, _journal(run, progress, machine) as journal:
        task = bar.add_task("train", total=total, completed=first, note="")
        made = blocks(stream, loaders=machine.loaders) if first < total else iter(())
        while progress.blocks < total:
            _learn_block(trainees, made, progress, recipe, machine, total)
            bar.update(task, completed=progress.blocks, note=_note(progress))
            in_epoch = progress.blocks % schedule.epoch_blocks
            is_row = in_epoch % row_blocks == 0
            if is_row:
                row = _row(progress, schedule, machine)
                if machine.is_first:
                    watched = watch(trainees, held, recipe, machine.device)
                    progress.rows.append(row | watched.figures)
                    if in_epoch == 0:
                        on_epoch(progress.blocks // schedule.epoch_blocks, trainees, watched)
            if machine.is_first and (is_row or time.monotonic() - saved_s > _SAVE_EVERY_S):
                save_state(run, trainees, progress, frames.origin, recipe)  # what it says, is done
                saved_s = time.monotonic()
                if is_row:
                    journal.write(progress.rows)
    return trainees, progress.rows


def _learn_block(
    trainees: Trainees,
    made: Iterator[Block],
    progress: Progress,
    recipe: Recipe,
    machine: Machine,
    total: int,
) -> None:
    """Take the next block's steps with every net."""
    started_s = time.monotonic()
    block = next(made)
    progress.waited_s += time.monotonic() - started_s
    place = np.random.SeedSequence([recipe.seed, progress.blocks, machine.rank])
    torch.manual_seed(int(place.generate_state(1)[0]))
    for name, trainee in trainees.named().items():
        loss = trainee.learn(block, progress.blocks / total)
        if not math.isfinite(loss):
            raise InvalidModelError(
                f"block {progress.blocks + 1}: expected a finite loss of {name}, found {loss}; the "
                "last saved state is from before"
            )
        progress.sums[name] = progress.sums.get(name, 0.0) + loss
    progress.blocks += 1
    progress.counted += 1
    progress.unreadable += block.unreadable
    progress.seconds += time.monotonic() - started_s


def _row(progress: Progress, schedule: Schedule, machine: Machine) -> Row:
    """Return the means since the last row, over all processes, and begin anew."""
    means = {f"{name}_loss": total / progress.counted for name, total in progress.sums.items()}
    means |= {
        "seconds": progress.seconds,
        "waited_share": progress.waited_s / progress.seconds,
        "unreadable": float(progress.unreadable),
    }
    progress.sums, progress.counted = {}, 0
    progress.seconds, progress.waited_s = 0.0, 0.0
    return {
        "step": float(schedule.steps(progress.blocks)),
        "epoch": progress.blocks / schedule.epoch_blocks,
    } | machine.mean(means)


def _note(progress: Progress) -> str:
    losses = [f"{name} {total / progress.counted:.4g}" for name, total in progress.sums.items()]
    waited = 100 * progress.waited_s / progress.seconds
    return " ".join([*losses, f"waited {waited:.0f} %"])


@contextmanager
def _journal(run: Path, progress: Progress, machine: Machine) -> Iterator[Journal]:
    """Open the first process's journal; the others write none."""
    run.mkdir(parents=True, exist_ok=True)
    if not machine.is_first:
        yield Journal(run, [], board=False)
        return
    journal = Journal(run, progress.rows)
    try:
        yield journal
    finally:
        journal.close()


def _bar(*, shown: bool) -> Bar:
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        disable=not shown,
    )
