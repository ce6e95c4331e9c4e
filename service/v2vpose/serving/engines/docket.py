"""The jobs that are out at one worker, and who waits for them; one rule for all engines."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from v2vpose.serving.engines.messages import Answer
from v2vpose.serving.ports import Listener, MemberReply

_LOG: Final = logging.getLogger(__name__)
FAILURES_TO_KILL: Final = 3
"""So many batches in a row without any keypoints end a worker: a device error often stays."""


@dataclass(slots=True)
class _Task:
    """A job that is out: who waits for it, which members are missing, what to do at its end."""

    to: Listener
    missing: set[int]
    on_done: Callable[[], None]


class Docket:
    """What one worker owes, by number of the job.

    Args:
        name: of the worker, for people.
        index: which worker of the engine it is.
    """

    def __init__(self, name: str, index: int) -> None:
        self._name = name
        self._index = index
        self._tasks: dict[int, _Task] = {}
        self._failures: dict[int, int] = {}  # by epoch: batches in a row without any keypoints

    def __contains__(self, number: int) -> bool:
        """Whether somebody waits for this job."""
        return number in self._tasks

    @property
    def load(self) -> int:
        """How many members' answers are awaited."""
        return sum(len(task.missing) for task in self._tasks.values())

    @property
    def is_failing(self) -> bool:
        """Whether a member failed so often in a row that its worker had better end."""
        return any(failures >= FAILURES_TO_KILL for failures in self._failures.values())

    def enter(
        self,
        number: int,
        epochs: Iterable[int],
        to: Listener,
        on_done: Callable[[], None] = lambda: None,
    ) -> None:
        """Note a job that goes out.

        Args:
            number: of the job.
            epochs: the members asked.
            to: hears of each, once.
            on_done: called when the worker does not look at the crops any more.
        """
        self._tasks[number] = _Task(to, set(epochs), on_done)

    def take(self, answer: Answer) -> None:
        """Hand an answer to who waits for it."""
        if answer.error is not None:
            _LOG.error("%s: epoch %d failed: %s", self._name, answer.epoch, answer.error)
        answers = answer.answers()
        if answers:
            self._failures.pop(answer.epoch, None)
        else:
            self._failures[answer.epoch] = self._failures.get(answer.epoch, 0) + 1
        task = self._tasks[answer.number]
        task.missing.remove(answer.epoch)
        if not task.missing:
            del self._tasks[answer.number]
            task.on_done()
        task.to.replied(answer.epoch, MemberReply(answers, answer.stage_s, worker=self._index))

    def be_late(self) -> None:
        """Tell everybody who waits that the worker is late."""
        for task in list(self._tasks.values()):
            for epoch in list(task.missing):
                task.to.late(epoch)

    def give_up(self) -> None:
        """Tell everybody who waits that no answer will come; the worker has ended."""
        tasks, self._tasks = self._tasks, {}
        self._failures.clear()
        for task in tasks.values():
            task.on_done()
            for epoch in task.missing:
                task.to.failed(epoch)
