"""Who goes next, with whom, and where: batches formed once and given to one replica of an ensemble.

A batch closes when it is full, or `max_queue_delay_s` after its oldest request came, or at once if
a replica is idle: an empty machine never waits. A replica works on one batch and holds the next, so
that its workers never wait for us. Everything happens on an event (a request, a reply, a timer, a
worker's change); nothing polls.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from v2vpose.errors import UnavailableError
from v2vpose.serving.admission import Place
from v2vpose.serving.aggregator import Ballot, Quorum, Round
from v2vpose.serving.ports import (
    BATCHES_A_REPLICA,
    Ask,
    Batch,
    Engine,
    MemberState,
    Priority,
    Question,
)
from v2vpose.values import MemberAnswer


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """When a batch closes.

    Attributes:
        max_batch_size: it is full.
        max_queue_delay_s: its oldest request has waited this long while every replica was busy.
    """

    max_batch_size: int = 4
    max_queue_delay_s: float = 0.01


@dataclass(frozen=True, slots=True)
class Answered:
    """The members' answers to one request.

    Attributes:
        answers: by epoch; at least a quorum.
        queue_s: how long the request waited for a worker.
        stage_s: seconds by stage, of the worker that took longest.
    """

    answers: Mapping[int, MemberAnswer]
    queue_s: float
    stage_s: Mapping[str, float]


@dataclass(slots=True, eq=False)
class _Entry:
    """One request in the queue, or on a replica.

    `is_begun`: part of its request was answered already. `has_substitute`: see `answers_to_all`.
    `failed_on` is the replica that failed it once; there is no third try.
    """

    question: Question
    deadline_s: float | None
    priority: Priority
    place: Place
    answered: asyncio.Future[Answered]
    queued_s: float
    is_begun: bool
    has_substitute: bool
    dispatched_s: float = 0.0
    failed_on: int | None = None


class Scheduler:
    """The queue of one model version.

    Args:
        engine: the ensemble.
        policy: when a batch closes.
        quorum: how many members must answer.
        on_batch: told the size of every batch.
    """

    def __init__(
        self,
        engine: Engine,
        policy: BatchPolicy,
        quorum: Quorum,
        on_batch: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._engine = engine
        self._policy = policy
        self._quorum = quorum
        self._on_batch = on_batch
        # A dict keeps its order and forgets a caller who left at once. Retries come first, and
        # within a priority what was begun: it has no place in the queue any more.
        self._retries: dict[_Entry, None] = {}
        self._queues: dict[tuple[Priority, bool], dict[_Entry, None]] = {
            (priority, is_begun): {} for priority in Priority for is_begun in (True, False)
        }
        self._batches = [0] * engine.replicas  # in flight, by replica
        self._timer: asyncio.TimerHandle | None = None

    async def answers(
        self,
        question: Question,
        *,
        place: Place,
        deadline_s: float | None = None,
        priority: Priority = Priority.NORMAL,
        is_begun: bool = False,
    ) -> Answered:
        """Ask the ensemble about a crop.

        A caller may leave at any time: cancelling costs no other caller anything.

        Args:
            question: what to ask.
            place: left as soon as a worker has the request.
            deadline_s: instant of `time.monotonic`; near it, a degraded answer is better than none.
                The caller enforces it.
            priority: who goes first.
            is_begun: whether part of the request was answered already: it goes first among equals.

        Raises:
            UnavailableError: fewer than a quorum answered, twice; or fewer than a quorum are up.
        """
        entry = self._queued(question, place, deadline_s, priority, is_begun=is_begun)
        self.dispatch()
        try:
            return await entry.answered
        finally:
            self._forget(entry)

    async def answers_to_all(
        self,
        questions: Sequence[Question],
        *,
        place: Place,
        deadline_s: float | None = None,
        priority: Priority = Priority.NORMAL,
        is_begun: bool = False,
        has_substitute: bool = False,
    ) -> list[Answered | UnavailableError]:
        """Ask several questions of one request, in one batch if they fit.

        Args:
            questions: what to ask.
            place, deadline_s, priority, is_begun: see `answers`.
            has_substitute: whether the caller will ask somebody else: then a member that is late is
                given up, and nothing is tried twice.

        Returns:
            An answer, or why there is none, for every question, in order.
        """
        entries = [
            self._queued(
                question, place, deadline_s, priority,
                is_begun=is_begun, has_substitute=has_substitute,
            )
            for question in questions
        ]  # fmt: skip
        self.dispatch()
        try:
            for entry in entries:
                with suppress(UnavailableError):
                    await entry.answered
        finally:
            for entry in entries:
                self._forget(entry)
                entry.answered.cancel()  # the caller may have gone
                if not entry.answered.cancelled():
                    entry.answered.exception()  # it was told, even if nobody listens any more
        return [_result(entry.answered) for entry in entries]

    def dispatch(self) -> None:
        """Give batches to replicas as far as both are there; call when either may have changed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while (first := next(self._waiting(), None)) is not None:
            usable = [r for r in range(self._engine.replicas) if self._is_usable(r, first)]
            if not usable:
                self._refuse(first)
                continue
            elsewhere = [replica for replica in usable if replica != first.failed_on]
            replica = min(elsewhere or usable, key=lambda r: self._batches[r])
            if self._batches[replica] >= BATCHES_A_REPLICA:
                return
            entries = self._mates(first, replica)
            if self._batches[replica] > 0 and len(entries) < self._policy.max_batch_size:
                oldest_s = min(entry.queued_s for entry in entries)
                wait_s = oldest_s + self._policy.max_queue_delay_s - time.monotonic()
                if wait_s > 0:
                    self._timer = asyncio.get_running_loop().call_later(wait_s, self.dispatch)
                    return
            self._submit(entries, replica)

    def _waiting(self) -> Iterator[_Entry]:
        """Yield who waits, in the order of service; not who left a moment ago."""
        for queue in (self._retries, *self._queues.values()):
            for entry in queue:
                if not entry.answered.done():
                    yield entry

    def _queued(
        self,
        question: Question,
        place: Place,
        deadline_s: float | None,
        priority: Priority,
        *,
        is_begun: bool,
        has_substitute: bool = False,
    ) -> _Entry:
        entry = _Entry(
            question=question,
            deadline_s=deadline_s,
            priority=priority,
            place=place,
            answered=asyncio.get_running_loop().create_future(),
            queued_s=time.monotonic(),
            is_begun=is_begun,
            has_substitute=has_substitute,
        )
        self._queues[priority, is_begun][entry] = None
        return entry

    def _is_usable(self, replica: int, entry: _Entry) -> bool:
        """Whether enough of the members that the request asks for are not down there."""
        members = len(entry.question.known) + len(self._members(replica, entry))
        return members >= self._quorum.of(len(entry.question.epochs))

    def _members(self, replica: int, entry: _Entry) -> tuple[int, ...]:
        """Return the members to ask: late ones only if the others make no quorum."""
        states, question = self._engine.states(replica), entry.question
        rest = [epoch for epoch in question.epochs if epoch not in question.known]
        up = tuple(epoch for epoch in rest if states[epoch] is MemberState.UP)
        is_quorum = len(question.known) + len(up) >= self._quorum.of(len(question.epochs))
        if is_quorum or entry.has_substitute:
            return up
        return tuple(epoch for epoch in rest if states[epoch] is not MemberState.DOWN)

    def _mates(self, first: _Entry, replica: int) -> list[_Entry]:
        """Return who can share a batch with the first: one decoding, one way to go."""
        mates = []
        for entry in self._waiting():
            if (
                entry.question.decode is first.question.decode
                and entry.failed_on == first.failed_on
                and (entry is first or self._is_usable(replica, entry))
            ):
                mates.append(entry)
                if len(mates) == self._policy.max_batch_size:
                    break
        return mates

    def _submit(self, entries: list[_Entry], replica: int) -> None:
        self._batches[replica] += 1
        self._on_batch(len(entries))
        now_s = time.monotonic()
        for entry in entries:
            self._forget(entry)
            entry.place.leave()
            entry.dispatched_s = now_s
        asks = tuple(Ask(entry.question.crop, self._members(replica, entry)) for entry in entries)
        asked = frozenset(epoch for ask in asks for epoch in ask.epochs)
        ballots = [
            Ballot(
                asked=frozenset(ask.epochs),
                quorum=self._quorum.of(len(entry.question.epochs)),
                deadline_s=entry.deadline_s,
                settle=partial(self._settle, entry, replica),
                answers=dict(entry.question.known),
                has_substitute=entry.has_substitute,
            )
            for entry, ask in zip(entries, asks, strict=True)
        ]
        batch = Batch(asks, entries[0].question.decode)
        one_round = Round(ballots, asked, on_done=lambda: self._done(replica))
        if asked:
            self._engine.submit(batch, replica, asked, one_round)
        one_round.begin()

    def _settle(
        self,
        entry: _Entry,
        replica: int,
        answers: Mapping[int, MemberAnswer],
        stage_s: Mapping[str, float],
    ) -> None:
        if entry.answered.done():  # the caller has gone
            return
        if len(answers) >= self._quorum.of(len(entry.question.epochs)):
            queue_s = entry.dispatched_s - entry.queued_s
            entry.answered.set_result(Answered(dict(answers), queue_s, stage_s))
        elif entry.failed_on is None and not entry.has_substitute:
            entry.failed_on = replica
            self._retries[entry] = None
            asyncio.get_running_loop().call_soon(self.dispatch)
        else:
            self._refuse(entry)

    def _refuse(self, entry: _Entry) -> None:
        self._forget(entry)
        if not entry.answered.done():
            entry.answered.set_exception(
                UnavailableError(
                    f"fewer than {self._quorum.of(len(entry.question.epochs))} of "
                    f"{len(entry.question.epochs)} epoch checkpoints could answer; try again later"
                )
            )

    def _forget(self, entry: _Entry) -> None:
        self._retries.pop(entry, None)
        self._queues[entry.priority, entry.is_begun].pop(entry, None)

    def _done(self, replica: int) -> None:
        self._batches[replica] -= 1
        asyncio.get_running_loop().call_soon(self.dispatch)  # never inside another dispatch


def _result(answered: asyncio.Future[Answered]) -> Answered | UnavailableError:
    try:
        return answered.result()
    except UnavailableError as error:
        return error
