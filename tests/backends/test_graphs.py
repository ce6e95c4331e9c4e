"""The logic of CUDA graphs, on fakes that behave like them: fixed inputs, fixed outputs."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from v2vpose.backends import TorchBackend
from v2vpose.backends.graphs import _MOST_GRAPHS, Forward, Graphed
from v2vpose.nets import Refiner, build_v2v


class FakeGraphs:
    """Records by running once; a replay overwrites what the last one returned."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def capture(self, forward: Forward, example: Tensor) -> Forward:
        self.sizes.append(len(example))
        given = torch.zeros_like(example)
        found = [each.clone() for each in forward(given)]

        def replay(batch: Tensor) -> Sequence[Tensor]:
            given.copy_(batch)
            for static, fresh in zip(found, forward(given), strict=True):
                static.copy_(fresh)
            return found

        return replay


def test_each_shape_is_recorded_once_and_replayed_with_what_is_given():
    graphs = FakeGraphs()
    graphed = Graphed(lambda batch: (2 * batch,), graphs.capture)
    for value, size in ((1.0, 2), (2.0, 1), (3.0, 2), (4.0, 1)):
        (found,) = graphed(torch.full((size, 3), value))
        np.testing.assert_array_equal(found, np.full((size, 3), 2 * value))
    assert graphs.sizes == [2, 1]


def test_beyond_so_many_shapes_nothing_is_recorded():
    graphs = FakeGraphs()
    graphed = Graphed(lambda batch: (batch + 1,), graphs.capture)
    for size in range(1, _MOST_GRAPHS + 5):
        (found,) = graphed(torch.zeros(size))
        np.testing.assert_array_equal(found, np.ones(size))
    assert graphs.sizes == list(range(1, _MOST_GRAPHS + 1))


def test_a_backend_on_graphs_gives_the_references_peaks():
    graphs = FakeGraphs()
    v2v, refiner = build_v2v(3, width=2), Refiner()
    plain = TorchBackend(v2v, refiner)
    graphed = TorchBackend(v2v, refiner, capture=graphs.capture)
    rng = np.random.default_rng(0)
    for size in (2, 1, 2):
        occupancy = (rng.random((size, 16, 16, 16)) < 0.1).astype(np.uint8)
        ours, theirs = plain.peaks(occupancy), graphed.peaks(occupancy)
        np.testing.assert_array_equal(ours.zyx_cell, theirs.zyx_cell)
        np.testing.assert_allclose(ours.height, theirs.height, rtol=1e-6)
        np.testing.assert_allclose(ours.patch, theirs.patch, rtol=1e-6, atol=1e-9)
    assert graphs.sizes == [2, 1]
