"""From the members' replies to one answer for each caller: quorum, late members, degraded answers.

A `Round` is one batch at one replica. It listens to the members, and settles each caller's `Ballot`
as soon as every member asked has replied or failed, or only late ones are missing and the others
make a quorum, or the caller's deadline is near and those that replied make a quorum.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from v2vpose.serving.ports import MemberReply
from v2vpose.values import MemberAnswer

_MARGIN: Final = 0.1
_LEAST_MARGIN_S: Final = 0.02
_MOST_MARGIN_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Quorum:
    """How many of the members asked must answer; None = half, rounded up."""

    members: int | None = None

    def of(self, asked: int) -> int:
        """Return how many of `asked` members must answer."""
        return (asked + 1) // 2 if self.members is None else min(self.members, asked)


@dataclass(slots=True, eq=False)
class Ballot:
    """One caller's part in a round.

    Attributes:
        asked: the members asked, by epoch.
        quorum: how many must answer.
        deadline_s: instant of `time.monotonic` after which the answer is of no use.
        settle: called once, with all answers; fewer than the quorum means there is no answer.
        answers: what the members said so far, by epoch.
        has_substitute: whether late members are given up even without a quorum.
        hurried: whether the deadline is near, so that a quorum is enough.
    """

    asked: frozenset[int]
    quorum: int
    deadline_s: float | None
    settle: Callable[[Mapping[int, MemberAnswer], Mapping[str, float]], None]
    answers: dict[int, MemberAnswer] = field(default_factory=dict)
    has_substitute: bool = False
    hurried: bool = False

    @property
    def carried(self) -> bool:
        """Whether enough members answered."""
        return len(self.answers) >= self.quorum

    def is_settled(self, missing: frozenset[int], late: Set[int]) -> bool:
        """Whether waiting for the missing members, some of them late, is of no use."""
        if not missing:
            return True
        if self.carried and self.hurried:
            return True
        return (self.carried or self.has_substitute) and missing <= late


class Round:
    """Listens to the members asked about one batch; see `ports.Listener`.

    Args:
        ballots: one for each place in the batch.
        asked: the members that were asked.
        on_done: called once, when no answer is awaited any more: the replica has room.
    """

    def __init__(
        self, ballots: Sequence[Ballot], asked: frozenset[int], on_done: Callable[[], None]
    ) -> None:
        self._open = dict(enumerate(ballots))
        self._missing = set(asked)
        self._late: set[int] = set()
        self._busy_s: dict[int, dict[str, float]] = {}  # by worker
        self._on_done: Callable[[], None] | None = on_done
        self._alarms = [
            self._alarm(ballot, ballot.deadline_s)
            for ballot in ballots
            if ballot.deadline_s is not None
        ]

    def begin(self) -> None:
        """Settle what needs no reply; call once, after the batch was submitted."""
        self._settle_all()

    def replied(self, epoch: int, reply: MemberReply) -> None:
        """See `ports.Listener`."""
        for row, answer in reply.answers.items():
            if row in self._open:
                self._open[row].answers[epoch] = answer
        busy_s = self._busy_s.setdefault(reply.worker, {})
        for stage, seconds in reply.stage_s.items():
            busy_s[stage] = busy_s.get(stage, 0.0) + seconds
        self.failed(epoch)

    def failed(self, epoch: int) -> None:
        """See `ports.Listener`."""
        self._missing.discard(epoch)
        self._late.discard(epoch)
        self._settle_all()

    def late(self, epoch: int) -> None:
        """See `ports.Listener`."""
        if epoch in self._missing:
            self._late.add(epoch)
            self._settle_all()

    def _settle_all(self) -> None:
        for row, ballot in list(self._open.items()):
            if ballot.is_settled(ballot.asked & self._missing, self._late):
                del self._open[row]
                ballot.settle(ballot.answers, self._slowest_worker_s())
        if self._missing <= self._late and not self._open and self._on_done is not None:
            on_done, self._on_done = self._on_done, None
            for alarm in self._alarms:
                alarm.cancel()
            on_done()

    def _alarm(self, ballot: Ballot, deadline_s: float) -> asyncio.TimerHandle:
        """Wake up when a tenth of the time is left: then a degraded answer is better than none."""
        left_s = deadline_s - time.monotonic()
        margin_s = min(max(_MARGIN * left_s, _LEAST_MARGIN_S), _MOST_MARGIN_S)
        return asyncio.get_running_loop().call_later(
            max(left_s - margin_s, 0.0), self._hurry, ballot
        )

    def _hurry(self, ballot: Ballot) -> None:
        ballot.hurried = True
        self._settle_all()

    def _slowest_worker_s(self) -> Mapping[str, float]:
        """Return seconds by stage of the worker that took longest; workers run side by side."""
        return max(self._busy_s.values(), key=lambda busy: sum(busy.values()), default={})
