"""One request's trips to the workers: a judge takes the best guesses, then the ensemble answers.

The judge is one member, batched and supervised like every other; what it says of a target is its
answer of the ensemble. One that is down, late, or uses up its share of the time left has a
substitute: the next epoch checkpoint judges.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from v2vpose.errors import PoseError, UnavailableError
from v2vpose.estimator import Judgement, Search, Target
from v2vpose.serving.admission import Place
from v2vpose.serving.ports import Priority, Question
from v2vpose.serving.scheduler import Answered, Scheduler
from v2vpose.values import MemberAnswer

_JUDGE_SHARE: Final = 0.3  # of the time left, for a judge that has a substitute


@dataclass(frozen=True, slots=True)
class Ensemble:
    """The members' answers about one target, by epoch."""

    target: Target
    answers: Mapping[int, MemberAnswer]


Found: TypeAlias = Ensemble | PoseError
"""The answers about a target, or why there are none."""


async def ensemble_answers(
    search: Search,
    scheduler: Scheduler,
    *,
    place: Place,
    deadline_s: float | None,
    priority: Priority,
) -> tuple[list[Found], list[Answered]]:
    """Ask about everything that a search found.

    Args:
        search: what was found.
        scheduler: of the model version.
        place: left as soon as a worker has the request.
        deadline_s: instant of `time.monotonic` that the caller enforces.
        priority: who goes first.

    Returns:
        What was found of every target; and of each trip the answer that took longest.

    Raises:
        UnavailableError: no member could judge.
    """
    trips, judgement = [], None
    if search.in_question:
        judgement, trip = await _judged(search, scheduler, place, deadline_s, priority)
        trips.append(trip)
    targets = search.targets(judgement)
    unknown = [each for each in targets if isinstance(each, Target) and not each.is_answered]
    replies: Sequence[Answered | UnavailableError] = ()
    if unknown:
        replies = await scheduler.answers_to_all(
            [Question(each.crop, each.decode, each.epochs, each.known) for each in unknown],
            place=place,
            deadline_s=deadline_s,
            priority=priority,
            is_begun=judgement is not None,
        )
        trips += _slowest(replies)
    reply = iter(replies)
    return [_found(target, reply) for target in targets], trips


def _found(target: Target | PoseError, replies: Iterator[Answered | UnavailableError]) -> Found:
    """Return what was found of a target; a reply is taken only if members were asked about it."""
    if isinstance(target, PoseError):
        return target
    if target.is_answered:
        return Ensemble(target, target.known)
    reply = next(replies)
    return reply if isinstance(reply, PoseError) else Ensemble(target, reply.answers)


async def _judged(
    search: Search,
    scheduler: Scheduler,
    place: Place,
    deadline_s: float | None,
    priority: Priority,
) -> tuple[Judgement, Answered]:
    """Return the judgement, and the answer that took longest; see `ensemble_answers`."""
    for epoch in search.judges:
        is_last = epoch == search.judges[-1]
        limit_s = None
        if deadline_s is not None and not is_last:
            limit_s = _JUDGE_SHARE * max(deadline_s - time.monotonic(), 0.0)
        try:
            async with asyncio.timeout(limit_s):
                replies = await scheduler.answers_to_all(
                    [Question(guess.crop, search.decode, (epoch,)) for guess in search.in_question],
                    place=place,
                    deadline_s=deadline_s,
                    priority=priority,
                    has_substitute=not is_last,
                )
        except TimeoutError:
            continue
        answered = [each for each in replies if isinstance(each, Answered)]
        if len(answered) == len(replies):
            answers = tuple(each.answers[epoch] for each in answered)
            return Judgement(epoch, answers), _slowest(answered)[0]
    raise UnavailableError("no epoch checkpoint could choose the target; try again later")


def _slowest(replies: Sequence[Answered | UnavailableError]) -> list[Answered]:
    answered = [each for each in replies if isinstance(each, Answered)]
    return sorted(answered, key=lambda each: each.queue_s + sum(each.stage_s.values()))[-1:]
