"""An endless stream of blocks, generated beside the training, the same again after a resume."""

from collections.abc import Callable, Iterator

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from v2vpose.training.recipe import Recipe
from v2vpose.training.samples import Block, make_block
from v2vpose.values import LabelledFrame


class BlockStream(IterableDataset[Block]):
    """Blocks `first`, `first + 1`, ...; worker w of n makes every n-th.

    Args:
        frame: returns the labelled frame of an index, always the same one.
        recipe: of the run.
        first: number of the first block.
    """

    def __init__(
        self, frame: Callable[[int], LabelledFrame], recipe: Recipe, *, first: int
    ) -> None:
        self._frame = frame
        self._recipe = recipe
        self._first = first

    def __iter__(self) -> Iterator[Block]:
        worker = get_worker_info()
        lane, lanes = (worker.id, worker.num_workers) if worker else (0, 1)
        number = self._first + lane
        while True:
            yield self.block(number)
            number += lanes

    def block(self, number: int) -> Block:
        """Return one block; its frames and its augmentation depend on its number alone."""
        size = self._recipe.block
        frames = [self._frame(number * size + i) for i in range(size)]
        return make_block(frames, self._recipe, np.random.default_rng([self._recipe.seed, number]))
