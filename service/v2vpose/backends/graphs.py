"""CUDA graphs: what a net asks of the device, recorded once for every batch size, then replayed.

A small net on a large GPU spends more time on launching its kernels than on running them. A graph
has fixed inputs and outputs, so there is one for every shape.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import torch
from torch import Tensor

Forward: TypeAlias = Callable[[Tensor], Sequence[Tensor]]
Capture: TypeAlias = Callable[[Forward, Tensor], Forward]
_WARM_UPS: Final = 3
_MOST_GRAPHS: Final = 32  # each keeps its memory


class Graphed:
    """A forward pass that is recorded at the first batch of each shape, and replayed after.

    What it returns is good until the next call, and it answers one call at a time.

    Args:
        forward: the pass; nothing in it may depend on values, only on shapes.
        capture: records a pass with an example of its input.
    """

    def __init__(self, forward: Forward, capture: Capture) -> None:
        self._forward = forward
        self._capture = capture
        self._replays: dict[tuple[int, ...], Forward] = {}

    def __call__(self, batch: Tensor) -> Sequence[Tensor]:
        """Return what the pass gives for a batch."""
        shape = tuple(batch.shape)
        if shape not in self._replays:
            if len(self._replays) == _MOST_GRAPHS:
                return self._forward(batch)
            self._replays[shape] = self._capture(self._forward, batch)
        return self._replays[shape](batch)


def cuda_capture(forward: Forward, example: Tensor) -> Forward:
    """Record a pass on the current CUDA device."""
    given = example.clone()
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's own
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # what is set up at first must not be recorded
        for _ in range(_WARM_UPS):
            forward(given)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = forward(given)

    def replay(batch: Tensor) -> Sequence[Tensor]:
        given.copy_(batch)
        graph.replay()
        return found

    return replay
