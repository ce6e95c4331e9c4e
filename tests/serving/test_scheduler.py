import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import numpy as np
import pytest

from tests.serving.fakes import FakeEngine, crop, said, until
from v2vpose.errors import UnavailableError
from v2vpose.serving.admission import Admission
from v2vpose.serving.aggregator import Quorum
from v2vpose.serving.ports import MemberState, Priority, Question
from v2vpose.serving.scheduler import Answered, BatchPolicy, Scheduler
from v2vpose.values import Decode

SOON = BatchPolicy(max_batch_size=4, max_queue_delay_s=0.01)
NEVER = BatchPolicy(max_batch_size=4, max_queue_delay_s=3600)


def target(
    x_mm: float,
    *,
    epochs: tuple[int, ...] = (1, 2, 3),
    decode: Decode = Decode.ARGMAX,
    known: Sequence[int] = (),
) -> Question:
    point_mm = np.array([x_mm, 0, 500.0])
    return Question(crop(x_mm), decode, epochs, {epoch: said(point_mm, epoch) for epoch in known})


class Bench:
    """A scheduler, and callers that ask it."""

    def __init__(self, engine: FakeEngine, policy: BatchPolicy, stack: ExitStack) -> None:
        self.engine = engine
        self.sizes: list[int] = []
        self.scheduler = Scheduler(engine, policy, Quorum(), on_batch=self.sizes.append)
        self.admission = Admission(max_queue_size=100)
        self._stack = stack

    async def ask(
        self, question: Question, priority: Priority = Priority.NORMAL
    ) -> asyncio.Task[Answered]:
        place = self._stack.enter_context(self.admission.place())
        asking = self.scheduler.answers(question, place=place, priority=priority)
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
    assert [len(queue) for queue in bench.scheduler._queues.values()] == [0, 0, 0, 1, 0, 0]
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


async def test_a_subset_goes_to_a_replica_that_has_it(stack):
    bench = Bench(FakeEngine(replicas=2), NEVER, stack)
    bench.engine.state[0][2] = MemberState.DOWN
    await bench.ask(target(0, epochs=(2,)))
    await bench.ask(target(0, epochs=(2,)))
    assert [sent.replica for sent in bench.engine.sent] == [1]
    bench.engine.state[1] = dict.fromkeys((1, 3), MemberState.DOWN) | {2: MemberState.UP}
    bench.engine.sent[0].reply()
    await until(lambda: len(bench.engine.sent) == 2)
    assert bench.engine.sent[1].replica == 1  # no quorum of the whole, but of what is asked


async def test_a_mate_that_a_replica_cannot_answer_does_not_travel_there(stack):
    bench = Bench(FakeEngine(replicas=2), NEVER, stack)
    await bench.occupy()
    bench.engine.state[0][2] = MemberState.DOWN
    bench.engine.sent[0].reply()
    await bench.ask(target(1))
    await bench.ask(target(2, epochs=(2,)))
    await until(lambda: len(bench.engine.sent) == 3)
    assert [sent.xs_mm for sent in bench.engine.sent[2:]] == [[1]]
    assert bench.engine.sent[2].replica == 0


async def test_what_is_known_is_not_asked_again_and_counts(bench):
    asking = await bench.ask(target(7, known=(2,)))
    (sent,) = bench.engine.sent
    assert sent.epochs == {1, 3}
    assert sent.batch.asks[0].epochs == (1, 3)
    sent.reply(3)
    sent.fail(1)
    assert sorted((await asking).answers) == [2, 3]  # a quorum, one of it known before


async def test_begun_work_goes_before_new_work_of_its_priority(bench):
    await bench.occupy()
    place = bench.admission.place()
    kept = bench._stack.enter_context(place)
    await bench.ask(target(1))
    bulk = bench.scheduler.answers(target(3), place=kept, priority=Priority.BULK, is_begun=True)
    begun = bench.scheduler.answers(target(2), place=kept, is_begun=True)
    tasks = [asyncio.create_task(work) for work in (bulk, begun)]
    await asyncio.sleep(0)
    bench.engine.sent[0].reply()
    await until(lambda: len(bench.engine.sent) == 2)
    assert bench.engine.sent[1].xs_mm == [2, 1, 3]
    bench.engine.sent[1].reply()
    await asyncio.gather(*tasks)


def xs_mm_of(answered: Answered | UnavailableError) -> float:
    """First x that epoch 1 said."""
    assert isinstance(answered, Answered)
    return float(answered.answers[1].keypoints_mm[0, 0])


class Several:
    """Questions of one request, asked together."""

    def __init__(self, bench: Bench, *xs_mm: float, has_substitute: bool = False) -> None:
        place = bench._stack.enter_context(bench.admission.place(len(xs_mm)))
        self.task = asyncio.create_task(
            bench.scheduler.answers_to_all(
                [target(x, epochs=(1,)) for x in xs_mm],
                place=place,
                has_substitute=has_substitute,
            )
        )


async def test_questions_of_one_request_travel_together(bench):
    several = Several(bench, 5, 6, 7)
    await asyncio.sleep(0)
    assert bench.admission.waiting == 0
    (sent,) = bench.engine.sent
    assert sent.xs_mm == [5, 6, 7]
    sent.reply()
    answered = await several.task
    assert [xs_mm_of(each) for each in answered] == [6, 7, 8]


async def test_a_substitute_takes_over_from_a_member_that_is_down_or_late(bench):
    for state in (MemberState.DOWN, MemberState.LATE):
        bench.engine.state[0][1] = state
        (refused,) = await Several(bench, 5, has_substitute=True).task
        assert isinstance(refused, UnavailableError)
    assert not bench.engine.sent
    bench.engine.state[0][1] = MemberState.UP
    several = Several(bench, 5, has_substitute=True)
    await asyncio.sleep(0)
    bench.engine.sent[0].to.late(1)
    (given_up,) = await several.task
    assert isinstance(given_up, UnavailableError)
    assert len(bench.engine.sent) == 1  # nothing is tried twice


async def test_without_a_substitute_a_late_member_is_waited_for(bench):
    several = Several(bench, 5)
    await asyncio.sleep(0)
    bench.engine.sent[0].to.late(1)
    await asyncio.sleep(0)
    assert not several.task.done()
    bench.engine.sent[0].reply()
    assert [xs_mm_of(each) for each in await several.task] == [6]


async def test_whoever_asked_several_questions_may_leave(bench):
    await bench.occupy()
    several = Several(bench, 5, 6)
    await asyncio.sleep(0)
    several.task.cancel()
    await asyncio.gather(several.task, return_exceptions=True)
    assert not any(bench.scheduler._queues.values())
