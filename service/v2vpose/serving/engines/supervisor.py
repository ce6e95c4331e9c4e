"""Keeps one worker alive: starts it, and starts it again when it ends, with back-off."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from v2vpose.errors import PoseError
from v2vpose.serving.engines.messages import Start
from v2vpose.serving.engines.placement import WorkerPlan
from v2vpose.serving.engines.watchdog import Patience
from v2vpose.serving.engines.worker_process import WorkerProcess
from v2vpose.serving.ports import MemberState

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long to wait before a worker is started again.

    Attributes:
        first_s: after it lived for long.
        most_s: the wait doubles up to this while it keeps ending early.
        settled_s: how long is long.
    """

    first_s: float = 0.1
    most_s: float = 30.0
    settled_s: float = 30.0

    def next_s(self, wait_s: float, lived_s: float) -> float:
        """Return the wait that follows `wait_s`, for a worker that lived for `lived_s`."""
        if wait_s == 0 or lived_s >= self.settled_s:
            return self.first_s
        return min(2 * wait_s, self.most_s)


class Supervisor:
    """One worker, through all its processes.

    Args:
        name: for people.
        index: which worker of the engine this is.
        plan: its place.
        message: what every process of this worker is told to hold.
        environment: variables for the process, beside the service's own.
        patience: how long it may be silent.
        back_off: how long to wait before it is started again.
        on_change: called when its state changes, or it is started again.
    """

    def __init__(
        self,
        *,
        name: str,
        index: int,
        plan: WorkerPlan,
        message: Start,
        environment: Mapping[str, str],
        patience: Patience,
        back_off: BackOff,
        on_change: Callable[[], None],
    ) -> None:
        self.name = name
        self.plan = plan
        self.restarts = 0
        self._message = message
        self._environment = environment
        self._back_off = back_off
        self._index = index
        self._patience = patience
        self._on_change = on_change
        self.worker = self._new_worker()
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> MemberState:
        """The state of its process."""
        return self.worker.state

    @property
    def load(self) -> int:
        """How many members' answers are awaited."""
        return self.worker.load

    async def start(self) -> None:
        """Start the worker for the first time, and watch over it from then on.

        Raises:
            InvalidModelError, UnavailableError: see `WorkerProcess.start`; nothing is retried.
        """
        await self.worker.start(self._message, self._environment)
        self._task = asyncio.create_task(self._keep_alive(), name=f"keep {self.name} alive")

    async def stop(self, *, grace_s: float) -> None:
        """Let the worker finish its jobs within the grace, then end it for good."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self.worker.stop(grace_s=grace_s)

    async def _keep_alive(self) -> None:
        wait_s = 0.0
        while True:
            begin_s = time.monotonic()
            status = await self.worker.ended()
            wait_s = self._back_off.next_s(wait_s, time.monotonic() - begin_s)
            _LOG.warning("%s ended (%d); starts again in %g s", self.name, status, wait_s)
            await asyncio.sleep(wait_s)
            self.restarts += 1
            self.worker = self._new_worker()
            self._on_change()
            try:
                await self.worker.start(self._message, self._environment)
            except PoseError:
                _LOG.exception("%s did not come up", self.name)

    def _new_worker(self) -> WorkerProcess:
        return WorkerProcess(self.name, self._index, self._patience, self._on_change)
