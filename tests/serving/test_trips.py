"""The judge and the ensemble, asked through a scheduler whose engine is the test."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache

import numpy as np
import pytest

from tests.api.fakes import manifest as plain_manifest
from tests.serving.fakes import FakeEngine, Sent, crop, said, until
from v2vpose.errors import NothingToEstimateError, UnavailableError
from v2vpose.estimator import Guess, Rivals, Search
from v2vpose.model_store import EpochRecord, HandednessJudge, Manifest
from v2vpose.serving.admission import Admission
from v2vpose.serving.aggregator import Quorum
from v2vpose.serving.ports import MemberReply, MemberState, Priority
from v2vpose.serving.scheduler import Answered, BatchPolicy, Scheduler
from v2vpose.serving.trips import Ensemble, Found, ensemble_answers
from v2vpose.values import Decode, FoundBy, Handedness, MemberAnswer, ReferencePoint

JUDGE = 2
NOTHING = NothingToEstimateError("nothing there")
Asking = asyncio.Task[tuple[list[Found], list[Answered]]]


@cache
def manifest() -> Manifest:
    epochs = [EpochRecord(epoch=e, file=f"epoch-{e}", sha256="0" * 64) for e in (1, 2, 3)]
    judge = HandednessJudge(epoch=JUDGE, per_confidence=40)
    return plain_manifest().model_copy(update={"epochs": epochs, "judge": judge})


def rivals(*xs_mm: float) -> Rivals:
    return Rivals(
        tuple(
            Guess(
                ReferencePoint(np.array([x, 0, 500.0]), FoundBy.DETECTOR, 0.5),
                crop(x),
                Handedness.RIGHT,
            )
            for x in xs_mm
        )
    )


class Bench:
    """A request at work."""

    def __init__(self, stack: ExitStack) -> None:
        self.engine = FakeEngine()
        policy = BatchPolicy(max_batch_size=4, max_queue_delay_s=0)
        self.scheduler = Scheduler(self.engine, policy, Quorum())
        self._admission = Admission(max_queue_size=10)
        self._stack = stack

    async def ask(
        self,
        *what: Rivals | NothingToEstimateError,
        epochs: tuple[int, ...] = (1, 2, 3),
        deadline_s: float | None = None,
    ) -> Asking:
        search = Search(manifest(), what, Decode.ARGMAX, epochs, is_hand_given=False)
        task = asyncio.create_task(
            ensemble_answers(
                search,
                self.scheduler,
                place=self._stack.enter_context(self._admission.place()),
                deadline_s=deadline_s,
                priority=Priority.NORMAL,
            )
        )
        await asyncio.sleep(0)
        return task

    async def sent(self, count: int) -> Sent:
        """The batch of this number, as soon as it is there."""
        await until(lambda: len(self.engine.sent) >= count)
        return self.engine.sent[count - 1]


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(stack)


def surest_of(sent: Sent, x_mm: float, epoch: int = JUDGE) -> None:
    """Answer for the judge, surest of the guess at a place."""
    answers = {}
    for row, ask in enumerate(sent.batch.asks):
        answer = said(ask.crop.reference_point_mm, epoch)
        is_it = ask.crop.reference_point_mm[0] == x_mm
        confidence = answer.confidence + (0.2 if is_it else 0)
        answers[row] = MemberAnswer(
            answer.keypoints_mm, confidence, answer.refined_point_mm, answer.occupied_vox
        )
    sent.to.replied(epoch, MemberReply(answers, {"forward": 0.5}, worker=0))


async def answers_of(asking: Asking) -> list[tuple[float, list[int]]]:
    """First keypoint's x of each target by its members' mean, and who answered."""
    found, _ = await asking
    assert all(isinstance(each, Ensemble) for each in found)
    return [
        (
            float(each.target.crop.reference_point_mm[0]),  # type: ignore[union-attr]
            sorted(each.answers),  # type: ignore[union-attr]
        )
        for each in found
    ]


async def test_one_guess_is_not_judged(bench):
    asking = await bench.ask(rivals(5))
    (await bench.sent(1)).reply()
    assert await answers_of(asking) == [(5, [1, 2, 3])]
    assert len(bench.engine.sent) == 1


async def test_the_judge_sees_every_guess_and_is_not_asked_again(bench):
    asking = await bench.ask(rivals(5, 6, 7))
    judging = await bench.sent(1)
    assert (judging.xs_mm, judging.epochs) == ([5, 6, 7], {JUDGE})
    surest_of(judging, 6)
    rest = await bench.sent(2)
    assert (rest.xs_mm, rest.epochs) == ([6], {1, 3})
    rest.reply()
    assert await answers_of(asking) == [(6, [1, 2, 3])]
    _, trips = await asking
    assert [trip.stage_s for trip in trips] == [{"forward": 0.5}, {"forward": 0.5}]


async def test_a_subset_without_the_judge_is_judged_all_the_same(bench):
    asking = await bench.ask(rivals(5, 6), epochs=(3,))
    surest_of(await bench.sent(1), 5)
    rest = await bench.sent(2)
    assert rest.epochs == {3}
    rest.reply()
    assert await answers_of(asking) == [(5, [3])]


async def test_the_judge_alone_needs_nobody_else(bench):
    asking = await bench.ask(rivals(5, 6), epochs=(JUDGE,))
    surest_of(await bench.sent(1), 6)
    assert await answers_of(asking) == [(6, [JUDGE])]
    assert len(bench.engine.sent) == 1


async def test_the_next_member_judges_for_one_that_is_down(bench):
    bench.engine.state[0][JUDGE] = MemberState.DOWN
    asking = await bench.ask(rivals(5, 6))
    judging = await bench.sent(1)
    assert judging.epochs == {3}
    surest_of(judging, 6, epoch=3)
    rest = await bench.sent(2)
    assert rest.epochs == {1}
    rest.reply()
    assert await answers_of(asking) == [(6, [1, 3])]


@pytest.mark.parametrize("trouble", ["failed", "late"])
async def test_the_next_member_judges_for_one_that_fails_or_is_late(bench, trouble):
    asking = await bench.ask(rivals(5, 6))
    getattr((await bench.sent(1)).to, trouble)(JUDGE)
    judging = await bench.sent(2)
    assert judging.epochs == {3}
    surest_of(judging, 5, epoch=3)
    (await bench.sent(3)).reply()
    assert (await answers_of(asking))[0][0] == 5


async def test_the_next_member_judges_for_one_that_takes_too_much_of_the_time_left(bench):
    begin_s = time.monotonic()
    asking = await bench.ask(rivals(5, 6), deadline_s=begin_s + 1)
    judging = await bench.sent(2)
    assert 0.25 < time.monotonic() - begin_s < 0.6
    assert judging.epochs == {3}
    surest_of(judging, 5, epoch=3)
    (await bench.sent(3)).reply()
    assert (await answers_of(asking))[0][0] == 5


async def test_where_nobody_can_judge_it_is_unavailable(bench):
    bench.engine.state[0] |= dict.fromkeys((1, 2, 3), MemberState.DOWN)
    with pytest.raises(UnavailableError, match="could choose the target"):
        await (await bench.ask(rivals(5, 6)))


async def test_every_hint_is_answered_or_says_why_not(bench):
    asking = await bench.ask(rivals(1, 2), NOTHING, rivals(3))
    judging = await bench.sent(1)
    assert judging.xs_mm == [1, 2]
    surest_of(judging, 2)
    rest = await bench.sent(2)
    assert [(ask.crop.reference_point_mm[0], ask.epochs) for ask in rest.batch.asks] == [
        (2, (1, 3)),
        (3, (1, 2, 3)),
    ]
    rest.reply()
    first, second, third = (await asking)[0]
    assert isinstance(first, Ensemble)
    assert second is NOTHING
    assert isinstance(third, Ensemble)
