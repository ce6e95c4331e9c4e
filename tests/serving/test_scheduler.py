import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest

from tests.serving.fakes import FakeEngine, crop, until
from v2vpose.errors import UnavailableError
from v2vpose.estimator import Target
from v2vpose.serving.admission import Admission
from v2vpose.serving.aggregator import Quorum
from v2vpose.serving.ports import MemberState, Priority
from v2vpose.serving.scheduler import Answered, BatchPolicy, Scheduler
from v2vpose.values import Decode, FoundBy, ReferencePoint

SOON = BatchPolicy(max_batch_size=4, max_queue_delay_s=0.01)
NEVER = BatchPolicy(max_batch_size=4, max_queue_delay_s=3600)


def target(
    x_mm: float, *, epochs: tuple[int, ...] = (1, 2, 3), decode: Decode = Decode.ARGMAX
) -> Target:
    point = ReferencePoint(np.array([x_mm, 0, 500.0]), FoundBy.HINT, 1.0)
    return Target(
        crop=crop(x_mm),
        reference_point=point,
        handedness=None,
        is_mirrored=False,
        decode=decode,
        epochs=epochs,
    )


class Bench:
    """A scheduler, and callers that ask it."""

    def __init__(self, engine: FakeEngine, policy: BatchPolicy, stack: ExitStack) -> None:
        self.engine = engine
        self.sizes: list[int] = []
        self.scheduler = Scheduler(engine, policy, Quorum(), on_batch=self.sizes.append)
        self.admission = Admission(max_queue_size=100)
        self._stack = stack

    async def ask(
        self, target: Target, priority: Priority = Priority.NORMAL
    ) -> asyncio.Task[Answered]:
        place = self._stack.enter_context(self.admission.place())
        asking = self.scheduler.answers(target, place=place, priority=priority)
        task = asyncio.create_task(asking)
        await asyncio.sleep(0)  # until it waits
        return task

    async def occupy(self) -> None:
        """Give every replica a batch of its own, so that it is busy."""
        for _ in range(self.engine.replicas):
            await self.ask(target(-1))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def bench(stack):
    return Bench(FakeEngine(), NEVER, stack)


async def test_an_empty_machine_never_waits(bench):
    asking = await bench.ask(target(7))
    (sent,) = bench.engine.sent
    assert sent.xs_mm == [7]
    assert sent.epochs == {1, 2, 3}
    sent.reply()
    answered = await asking
    assert sorted(answered.answers) == [1, 2, 3]
    assert answered.answers[2].keypoints_mm[0, 0] == 9
    assert answered.stage_s == {"forward": 0.75}


async def test_a_busy_machine_collects_a_full_batch(bench):
    await bench.occupy()
    asking = [await bench.ask(target(x)) for x in range(3)]
    assert len(bench.engine.sent) == 1
    asking.append(await bench.ask(target(3)))
    assert bench.engine.sent[1].xs_mm == [0, 1, 2, 3]
    bench.engine.sent[1].reply()
    for x, task in enumerate(asking):  # order in equals order out
        assert (await task).answers[1].keypoints_mm[0, 0] == x + 1
    assert bench.sizes == [1, 4]


async def test_a_replica_that_becomes_idle_takes_what_is_there(bench):
    await bench.occupy()
    await bench.ask(target(1))
    await bench.ask(target(2))
    bench.engine.sent[0].reply()
    await until(lambda: len(bench.engine.sent) == 2)
    assert bench.engine.sent[1].xs_mm == [1, 2]


async def test_a_batch_closes_when_its_first_request_has_waited_long_enough(stack):
    bench = Bench(FakeEngine(), SOON, stack)
    await bench.occupy()
    await bench.ask(target(1))
    assert len(bench.engine.sent) == 1
    await until(lambda: len(bench.engine.sent) == 2)
    assert bench.engine.sent[1].xs_mm == [1]


async def test_a_replica_holds_two_batches_and_no_more(bench):
    for _ in range(13):
        await bench.ask(target(0))
    assert bench.sizes == [1, 4]
    assert bench.admission.waiting == 8
    bench.engine.sent[0].reply()
    await until(lambda: bench.sizes == [1, 4, 4])
    assert bench.admission.waiting == 4


async def test_a_request_leaves_its_place_when_a_worker_has_it(bench):
    await bench.ask(target(0))
    assert bench.admission.waiting == 0
    await bench.ask(target(0))
    assert bench.admission.waiting == 1


async def test_a_cancelled_caller_does_not_cost_the_others_their_answer(bench):
    await bench.occupy()
    first, second, third, _ = [await bench.ask(target(x)) for x in range(4)]
    for leaver in (first, third):
        leaver.cancel()
    await asyncio.sleep(0)
    bench.engine.sent[1].reply()
    assert (await second).answers[1].keypoints_mm[0, 0] == 2
    assert first.cancelled()


async def test_whoever_leaves_while_waiting_is_never_sent(bench):
    await bench.occupy()
    leaver = await bench.ask(target(1))
    await bench.ask(target(2))
    leaver.cancel()
    await asyncio.sleep(0)
    assert [len(queue) for queue in bench.scheduler._queues.values()] == [0, 1, 0]
    bench.engine.sent[0].reply()
    await until(lambda: len(bench.engine.sent) == 2)
    assert bench.engine.sent[1].xs_mm == [2]


async def test_streams_go_before_bulk(bench):
    await bench.occupy()
    for x, priority in enumerate((Priority.BULK, Priority.NORMAL, Priority.STREAM)):
        await bench.ask(target(x), priority)
    bench.engine.sent[0].reply()
    await until(lambda: len(bench.engine.sent) == 2)
    assert bench.engine.sent[1].xs_mm == [2, 1, 0]


async def test_different_decodings_do_not_share_a_batch(bench):
    await bench.occupy()
    for x, decode in enumerate((Decode.ARGMAX, Decode.SUBVOXEL, Decode.ARGMAX)):
        await bench.ask(target(x, decode=decode))
    bench.engine.sent[0].reply()
    await until(lambda: len(bench.engine.sent) == 2)
    bench.engine.sent[1].reply()
    await until(lambda: len(bench.engine.sent) == 3)
    assert [sent.xs_mm for sent in bench.engine.sent[1:]] == [[0, 2], [1]]
    assert [sent.batch.decode for sent in bench.engine.sent[1:]] == [
        Decode.ARGMAX,
        Decode.SUBVOXEL,
    ]


async def test_subsets_of_the_ensemble_share_a_batch_and_each_gets_its_own(bench):
    await bench.occupy()
    some = await bench.ask(target(1, epochs=(1, 3)))
    other = await bench.ask(target(2, epochs=(2,)))
    bench.engine.sent[0].reply()
    await until(lambda: len(bench.engine.sent) == 2)
    sent = bench.engine.sent[1]
    assert [sent.batch.rows_of(epoch) for epoch in (1, 2, 3)] == [(0,), (1,), (0,)]
    sent.reply()
    assert sorted((await some).answers) == [1, 3]
    assert sorted((await other).answers) == [2]


async def test_a_dead_member_degrades_the_answer(bench):
    asking = await bench.ask(target(0))
    bench.engine.sent[0].reply(1, 3)
    bench.engine.sent[0].fail(2)
    assert sorted((await asking).answers) == [1, 3]


async def test_below_the_quorum_twice_is_unavailable(bench):
    asking = await bench.ask(target(0))
    for turn in range(2):
        await until(lambda: len(bench.engine.sent) == turn + 1)  # noqa: B023
        bench.engine.sent[turn].reply(1)
        bench.engine.sent[turn].fail(2, 3)
    with pytest.raises(UnavailableError, match="fewer than 2 of 3"):
        await asking
    assert len(bench.engine.sent) == 2


async def test_below_the_quorum_is_tried_once_more_in_place_if_that_is_all_there_is(bench):
    asking = await bench.ask(target(5))
    bench.engine.sent[0].fail(1, 3)
    bench.engine.sent[0].reply(2)
    await until(lambda: len(bench.engine.sent) == 2)
    bench.engine.sent[1].reply()
    assert sorted((await asking).answers) == [1, 2, 3]


async def test_below_the_quorum_is_tried_once_more_elsewhere(stack):
    bench = Bench(FakeEngine(replicas=2), NEVER, stack)
    asking = await bench.ask(target(5))
    first = bench.engine.sent[0]
    first.fail()
    await until(lambda: len(bench.engine.sent) == 2)
    second = bench.engine.sent[1]
    assert {first.replica, second.replica} == {0, 1}
    second.reply()
    assert (await asking).answers[1].keypoints_mm[0, 0] == 6


async def test_whoever_waits_for_a_second_try_may_leave(stack):
    bench = Bench(FakeEngine(replicas=2), NEVER, stack)
    leaver = await bench.ask(target(5))
    bench.engine.sent[0].fail()
    leaver.cancel()
    await asyncio.gather(leaver, return_exceptions=True)
    other = await bench.ask(target(6))
    assert [sent.xs_mm for sent in bench.engine.sent[1:]] == [[6]]
    bench.engine.sent[1].reply()
    await other


async def test_replicas_share_the_load(stack):
    bench = Bench(FakeEngine(replicas=3), NEVER, stack)
    for _ in range(3):
        await bench.ask(target(0))
    assert sorted(sent.replica for sent in bench.engine.sent) == [0, 1, 2]


async def test_a_replica_without_a_quorum_gets_nothing(stack):
    bench = Bench(FakeEngine(replicas=2), NEVER, stack)
    bench.engine.state[0] |= {1: MemberState.DOWN, 2: MemberState.DOWN}
    for _ in range(2):
        await bench.ask(target(0))
    assert [sent.replica for sent in bench.engine.sent] == [1]


async def test_no_replica_with_a_quorum_is_unavailable_also_for_those_who_wait(bench):
    await bench.occupy()
    waiting = await bench.ask(target(0))
    bench.engine.state[0] |= {1: MemberState.DOWN, 2: MemberState.DOWN}
    bench.scheduler.dispatch()
    with pytest.raises(UnavailableError):
        await waiting
    with pytest.raises(UnavailableError):
        await (await bench.ask(target(0)))


async def test_a_member_that_is_down_is_not_asked(bench):
    bench.engine.state[0][2] = MemberState.DOWN
    asking = await bench.ask(target(0))
    (sent,) = bench.engine.sent
    assert sent.epochs == {1, 3}
    sent.reply()
    assert sorted((await asking).answers) == [1, 3]


async def test_asking_only_for_a_member_that_is_down_is_unavailable(bench):
    bench.engine.state[0][2] = MemberState.DOWN
    asking = await bench.ask(target(0, epochs=(2,)))
    with pytest.raises(UnavailableError):
        await asking
    assert not bench.engine.sent
    assert bench.sizes == [1, 1]
    await bench.ask(target(0))  # and the replica is free
    assert bench.engine.sent


async def test_a_late_member_is_asked_only_if_the_others_make_no_quorum(bench):
    bench.engine.state[0][2] = MemberState.LATE
    await bench.ask(target(0))
    assert bench.engine.sent[0].epochs == {1, 3}
    bench.engine.sent[0].reply()
    bench.engine.state[0][3] = MemberState.LATE
    await asyncio.sleep(0)
    await bench.ask(target(0))
    assert bench.engine.sent[1].epochs == {1, 2, 3}
