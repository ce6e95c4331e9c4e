"""A stream of blocks, made beside the training, the same again after a resume.

A frame's place in the endless sequence of passes decides its augmentation, so neither loaders nor
processes nor a resume change what is learned from it.
"""

import atexit
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from v2vpose.errors import InvalidDepthMapError
from v2vpose.training.recipe import Recipe
from v2vpose.training.samples import Block, TrainingFrame, make_block

_MOST_UNREADABLE: Final = 100  # in a row; then it is the disk


@dataclass(frozen=True, slots=True)
class Schedule:
    """How passes over the set are cut into blocks, and blocks shared among processes.

    Attributes:
        epoch_frames: frames a pass.
        block: frames a block; the last one of a pass may have fewer.
        batch: frames a step, of all processes.
        ranks: processes.
    """

    epoch_frames: int
    block: int
    batch: int
    ranks: int = 1

    @property
    def epoch_blocks(self) -> int:
        """Blocks a pass; a rest of fewer frames than processes is left out."""
        full, rest = divmod(self.epoch_frames, self.block)
        return full + (rest >= self.ranks)

    def steps(self, blocks: int) -> int:
        """Return how many steps of the V2V net that many blocks have."""
        epochs, rest = divmod(blocks, self.epoch_blocks)
        frames = min(rest * self.block, self.epoch_frames)
        return epochs * -(-self.epoch_frames // self.batch) + -(-frames // self.batch)

    def places(self, number: int, rank: int = 0) -> Sequence[int]:
        """Return which frames of the endless sequence block `number` has for one process."""
        epoch, block = divmod(number, self.epoch_blocks)
        first, end = block * self.block, min((block + 1) * self.block, self.epoch_frames)
        mine: list[int] = []
        for start in range(first, end, self.batch):
            share = (min(start + self.batch, end) - start) // self.ranks
            begin = epoch * self.epoch_frames + start + rank * share
            mine += range(begin, begin + share)
        return mine


class BlockStream(IterableDataset[Block]):
    """Blocks `first`, `first + 1`, ...; worker w of n makes every n-th.

    Args:
        frame: returns the labelled frame at a place, always the same one.
        recipe: of the run.
        schedule: cuts the passes.
        first: number of the first block.
        rank: of this process.
    """

    def __init__(
        self,
        frame: Callable[[int], TrainingFrame],
        recipe: Recipe,
        schedule: Schedule,
        *,
        first: int,
        rank: int = 0,
    ) -> None:
        self._frame = frame
        self._recipe = recipe
        self._schedule = schedule
        self._first = first
        self._rank = rank

    def __iter__(self) -> Iterator[Block]:
        worker = get_worker_info()
        lane, lanes = (worker.id, worker.num_workers) if worker else (0, 1)
        number = self._first + lane
        while True:
            yield self.block(number)
            number += lanes

    def block(self, number: int) -> Block:
        """Return one block; it depends on its number alone.

        Raises:
            InvalidDepthMapError: a hundred frames in a row cannot be read.
        """
        places = self._schedule.places(number, self._rank)
        read = [self._readable(place) for place in places]
        return make_block(
            [frame for frame, _ in read],
            self._recipe,
            [np.random.default_rng([self._recipe.seed, place]) for place in places],
            unreadable=sum(skipped for _, skipped in read),
        )

    def _readable(self, place: int) -> tuple[TrainingFrame, int]:
        """Return the frame, or the next one that can be read, and how many could not."""
        for skipped in range(_MOST_UNREADABLE):
            try:
                return self._frame(place + skipped), skipped
            except InvalidDepthMapError as error:
                last = error
        raise last


def blocks(stream: BlockStream, *, loaders: int) -> Iterator[Block]:
    """Return the stream's blocks in order, made by `loaders` processes (0: here)."""
    return iter(
        DataLoader(
            stream,
            batch_size=None,
            num_workers=loaders,
            multiprocessing_context="spawn" if loaders else None,
            prefetch_factor=4 if loaders else None,
            generator=torch.Generator(),  # its own: the nets' draws are not touched
            worker_init_fn=_leave_without_teardown,
        )
    )


def _leave_without_teardown(_loader: int) -> None:
    """Let a loader end before the interpreter stops its thread that shares tensors.

    Stopped inside torch, that thread calls `std::terminate`, and the loader dies by SIGABRT.
    """
    atexit.register(os._exit, 0)
