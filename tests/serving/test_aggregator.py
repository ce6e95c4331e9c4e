import asyncio
import time
from collections.abc import Mapping

import numpy as np
import pytest

from tests.serving.fakes import said
from v2vpose.serving.aggregator import Ballot, Quorum, Round
from v2vpose.serving.ports import MemberReply
from v2vpose.values import MemberAnswer

POINT_MM = np.array([0.0, 0.0, 500.0])


class Settled:
    """What became of a round."""

    def __init__(self) -> None:
        self.answered: dict[str, tuple[int, ...]] = {}
        self.stage_s: Mapping[str, float] = {}
        self.rounds_done = 0
        self.changed = asyncio.Event()

    def ballot(
        self, name: str, *asked: int, quorum: int = 2, deadline_s: float | None = None
    ) -> Ballot:
        def settle(answers: Mapping[int, MemberAnswer], stage_s: Mapping[str, float]) -> None:
            assert name not in self.answered, "settled twice"
            self.answered[name] = tuple(sorted(answers))
            self.stage_s = stage_s
            self.changed.set()

        return Ballot(frozenset(asked), quorum, deadline_s, settle)

    def done(self) -> None:
        self.rounds_done += 1


@pytest.fixture
def settled():
    return Settled()


def reply(*rows: int, forward_s: float = 0.0, worker: int = 0) -> MemberReply:
    return MemberReply({row: said(POINT_MM, 1) for row in rows}, {"forward": forward_s}, worker)


def begun(ballots: list[Ballot], asked: set[int], settled: Settled) -> Round:
    one = Round(ballots, frozenset(asked), settled.done)
    one.begin()
    return one


@pytest.mark.parametrize(("asked", "half"), [(1, 1), (2, 1), (3, 2), (5, 3), (10, 5)])
def test_the_quorum_is_half_rounded_up(asked, half):
    assert Quorum().of(asked) == half


def test_a_given_quorum_is_never_more_than_were_asked():
    assert [Quorum(4).of(asked) for asked in (2, 4, 10)] == [2, 4, 4]


async def test_a_caller_is_answered_when_every_member_has_replied(settled):
    one = begun([settled.ballot("a", 1, 2)], {1, 2}, settled)
    one.replied(2, reply(0))
    assert not settled.answered
    one.replied(1, reply(0))
    assert settled.answered == {"a": (1, 2)}
    assert settled.rounds_done == 1


async def test_a_member_that_failed_costs_only_its_own_answer(settled):
    one = begun([settled.ballot("a", 1, 2, 3)], {1, 2, 3}, settled)
    for epoch in (1, 3):
        one.replied(epoch, reply(0))
    one.failed(2)
    assert settled.answered == {"a": (1, 3)}


async def test_a_caller_waits_only_for_the_members_it_asked(settled):
    one = begun([settled.ballot("a", 1, quorum=1), settled.ballot("b", 1, 2)], {1, 2}, settled)
    one.replied(1, reply(0, 1))
    assert settled.answered == {"a": (1,)}
    one.replied(2, reply(1))
    assert settled.answered == {"a": (1,), "b": (1, 2)}


async def test_a_member_may_fail_on_one_crop_of_a_batch(settled):
    one = begun([settled.ballot("a", 1, 2), settled.ballot("b", 1, 2)], {1, 2}, settled)
    one.replied(1, reply(0, 1))
    one.replied(2, reply(1))
    assert settled.answered == {"a": (1,), "b": (1, 2)}


async def test_a_late_member_is_not_waited_for_if_the_others_make_a_quorum(settled):
    one = begun([settled.ballot("a", 1, 2, 3)], {1, 2, 3}, settled)
    one.late(3)
    one.replied(1, reply(0))
    assert not settled.answered
    one.replied(2, reply(0))
    assert settled.answered == {"a": (1, 2)}
    assert settled.rounds_done == 1
    one.replied(3, reply(0))  # dropped
    assert settled.answered == {"a": (1, 2)}
    assert settled.rounds_done == 1


async def test_late_members_are_waited_for_if_the_others_make_no_quorum(settled):
    one = begun([settled.ballot("a", 1, 2, 3)], {1, 2, 3}, settled)
    one.replied(1, reply(0))
    one.late(2)
    one.late(3)
    assert not settled.answered
    assert settled.rounds_done == 0
    one.replied(2, reply(0))
    assert settled.answered == {"a": (1, 2)}


async def test_near_its_deadline_a_caller_takes_what_a_quorum_says(settled):
    ballots = [
        settled.ballot("hurried", 1, 2, 3, deadline_s=time.monotonic() + 0.05),
        settled.ballot("patient", 1, 2, 3),
    ]
    one = begun(ballots, {1, 2, 3}, settled)
    one.replied(1, reply(0, 1))
    one.replied(2, reply(0, 1))
    await asyncio.wait_for(settled.changed.wait(), 5)
    assert settled.answered == {"hurried": (1, 2)}
    assert settled.rounds_done == 0  # the replica is still at work
    one.replied(3, reply(0, 1))
    assert settled.answered == {"hurried": (1, 2), "patient": (1, 2, 3)}


async def test_a_replica_is_busy_until_its_members_are_done_whoever_has_left(settled):
    ballot = settled.ballot("hurried", 1, 2, quorum=1, deadline_s=time.monotonic() + 0.03)
    one = begun([ballot], {1, 2}, settled)
    one.replied(1, reply(0))
    await asyncio.wait_for(settled.changed.wait(), 5)
    assert settled.rounds_done == 0
    one.failed(2)
    assert settled.rounds_done == 1


async def test_a_quorum_that_comes_when_the_deadline_is_near_is_taken_at_once(settled):
    one = begun([settled.ballot("a", 1, 2, deadline_s=time.monotonic(), quorum=1)], {1, 2}, settled)
    await asyncio.sleep(0)
    assert not settled.answered
    await asyncio.wait_for(asyncio.to_thread(time.sleep, 0.01), 5)  # the alarm is due
    one.replied(2, reply(0))
    assert settled.answered == {"a": (2,)}


async def test_nobody_to_ask_means_no_answers(settled):
    begun([settled.ballot("a")], set(), settled)
    assert settled.answered == {"a": ()}
    assert settled.rounds_done == 1


async def test_times_are_those_of_the_worker_that_took_longest(settled):
    one = begun([settled.ballot("a", 1, 2, 3)], {1, 2, 3}, settled)
    one.replied(1, reply(0, forward_s=0.25, worker=0))
    one.replied(2, reply(0, forward_s=0.5, worker=1))
    one.replied(3, reply(0, forward_s=0.5, worker=0))
    assert settled.stage_s == {"forward": 0.75}
