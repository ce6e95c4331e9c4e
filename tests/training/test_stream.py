from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.conftest import Balls
from v2vpose.errors import InvalidDepthMapError
from v2vpose.training.recipe import Recipe
from v2vpose.training.stream import BlockStream, Schedule, blocks

TINY = Recipe(input_side=16, block=8, batch=4, refiner="wide", refiner_views=1)


def stream(balls: Balls, *, first: int = 0) -> BlockStream:
    return BlockStream(balls.frame, TINY, Schedule(len(balls), TINY.block, TINY.batch), first=first)


class ManyTensors(BlockStream):
    """Keeps the thread that hands tensors over busy."""

    def block(self, number: int) -> Any:  # noqa: ARG002
        return [torch.zeros(20_000) for _ in range(30)]


@given(st.integers(1, 200), st.integers(1, 40), st.integers(1, 16))
def test_one_process_sees_every_place_of_a_pass_once_and_in_order(frames, block, batch):
    schedule = Schedule(frames, block, batch)
    for epoch in range(2):
        numbers = range(epoch * schedule.epoch_blocks, (epoch + 1) * schedule.epoch_blocks)
        places = [place for number in numbers for place in schedule.places(number)]
        assert places == list(range(epoch * frames, (epoch + 1) * frames))


@given(st.integers(8, 200), st.sampled_from([8, 16, 32]), st.sampled_from([2, 4, 8]))
def test_processes_share_every_batch_evenly_and_leave_out_less_than_one_each(frames, block, ranks):
    schedule = Schedule(frames, block, batch=8, ranks=ranks)
    shares = [
        [schedule.places(number, rank) for number in range(schedule.epoch_blocks)]
        for rank in range(ranks)
    ]
    lengths = [[len(places) for places in share] for share in shares]
    assert all(length == lengths[0] for length in lengths)
    seen = [place for share in shares for places in share for place in places]
    assert len(set(seen)) == len(seen) > frames - ranks
    assert all(min(lengths[0]) > 0 for _ in shares)


def test_two_processes_split_each_step_and_not_the_block():
    schedule = Schedule(20, block=16, batch=8, ranks=2)
    assert schedule.places(0, 0) == [0, 1, 2, 3, 8, 9, 10, 11]
    assert schedule.places(0, 1) == [4, 5, 6, 7, 12, 13, 14, 15]
    assert schedule.places(1, 1) == [18, 19]


@pytest.mark.parametrize(("done", "steps"), [(0, 0), (1, 2), (3, 5), (4, 7)])
def test_steps_count_the_last_partial_batch(done, steps):
    assert Schedule(18, block=8, batch=4).steps(done) == steps


def test_a_block_depends_on_its_number_alone():
    fresh, later = stream(Balls(), first=7), stream(Balls())
    torch.testing.assert_close(next(iter(fresh)).occupancy, later.block(7).occupancy)
    assert not torch.equal(later.block(8).keypoints_cell, later.block(7).keypoints_cell)


def test_loader_processes_do_not_change_the_order():
    made = blocks(stream(Balls(), first=3), loaders=2)
    for number in range(3, 7):
        expected = stream(Balls()).block(number)
        torch.testing.assert_close(next(made).keypoints_cell, expected.keypoints_cell)


def test_loader_processes_end_well_while_they_still_hand_over(capfd):
    for _ in range(5):  # without the mending a loader in ten aborts
        next(blocks(ManyTensors(Balls().frame, TINY, Schedule(128, 8, 4), first=0), loaders=2))
    assert "terminate called" not in capfd.readouterr().err


def test_a_frame_that_cannot_be_read_is_counted_and_the_next_one_stands_in():
    whole, broken = stream(Balls()).block(0), stream(Balls(broken=(2, 3, 7))).block(0)
    assert (whole.unreadable, broken.unreadable) == (0, 4)  # 2 -> 4 (two), 3 -> 4, 7 -> 8
    assert len(broken.occupancy) == 8
    same = [0, 1, 4, 5, 6]
    np.testing.assert_array_equal(broken.occupancy[same], whole.occupancy[same])


def test_a_set_that_cannot_be_read_at_all_is_given_up():
    with pytest.raises(InvalidDepthMapError, match="frame 99 is broken"):
        stream(Balls(broken=tuple(range(200)))).block(0)
