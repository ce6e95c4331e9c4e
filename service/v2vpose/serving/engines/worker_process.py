"""The service's side of one worker process, from its start to its end; it is not reused."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from v2vpose.errors import InvalidModelError, UnavailableError
from v2vpose.serving.engines.child import Child
from v2vpose.serving.engines.docket import FAILURES_TO_KILL, Docket
from v2vpose.serving.engines.messages import Answer, Broken, Job, Ready, Start, packed
from v2vpose.serving.engines.watchdog import Patience, Watchdog
from v2vpose.serving.ports import Listener, MemberState

_LOG: Final = logging.getLogger(__name__)
_MODULE: Final = "v2vpose.serving.engines.worker"
_NEVER_STARTED: Final = 127


class WorkerProcess:
    """One process that holds members.

    Args:
        name: for people; seen in `ps`.
        index: which worker of the engine this is.
        patience: how long it may be silent.
        on_change: called when its state changes.
    """

    def __init__(
        self, name: str, index: int, patience: Patience, on_change: Callable[[], None]
    ) -> None:
        self.state = MemberState.DOWN
        self._name = name
        self._patience = patience
        self._on_change = on_change
        self._child: Child | None = None
        self._told: asyncio.Future[Ready | Broken] = asyncio.get_running_loop().create_future()
        self._docket = Docket(name, index)
        self._watchdog = Watchdog(patience, on_late=self._be_late, on_hung=self._be_hung)

    @property
    def load(self) -> int:
        """How many members' answers are awaited."""
        return self._docket.load

    @property
    def pid(self) -> int | None:
        """Its process id, once started."""
        return None if self._child is None else self._child.pid

    async def start(self, message: Start, environment: Mapping[str, str]) -> None:
        """Start the process and wait until it is ready; if it raises, the process is killed.

        Raises:
            InvalidModelError: a member cannot be loaded, or failed its self-test.
            UnavailableError: the process ended or took too long.
        """
        try:
            self._child = await Child.spawn(
                _MODULE,
                [self._name],
                pass_fds=[message.crops_fd],
                environment=environment,
                on_message=self._take,
                on_close=self._close,
            )
        except OSError as error:
            raise UnavailableError(f"{self._name} cannot be started: {error}") from error
        self._child.send(packed(message))
        try:
            news: list[asyncio.Future[Any]] = [self._told, self._child.ended]
            await asyncio.wait(
                news, timeout=self._patience.start_s, return_when=asyncio.FIRST_COMPLETED
            )
            self._check_ready()
        except BaseException:
            self._child.kill()
            raise

    def ask(self, job: Job, to: Listener, on_done: Callable[[], None]) -> None:
        """Give the worker a job.

        Args:
            job: what to do.
            to: hears of every member named in the job, once.
            on_done: called when the worker does not look at the crops any more.
        """
        if self._child is None:
            raise RuntimeError("start comes first")
        self._docket.enter(job.number, job.rows, to, on_done)
        self._watchdog.begin()
        self._child.send(job.packed())

    def kill(self) -> None:
        """End the process now."""
        if self._child is not None:
            self._child.kill()

    async def ended(self) -> int:
        """Wait for the end of the process; return its exit status, negative for a signal."""
        if self._child is None:
            return _NEVER_STARTED
        return await asyncio.shield(self._child.ended)

    async def stop(self, *, grace_s: float) -> None:
        """Let the process finish its jobs within the grace, then end it."""
        if self._child is None:
            return
        self._change(MemberState.DOWN)
        self._child.finish()
        done, _ = await asyncio.wait({self._child.ended}, timeout=grace_s)
        if not done:
            _LOG.warning("%s did not finish within %g s: killed", self._name, grace_s)
            self._child.kill()
            await self.ended()

    def _check_ready(self) -> None:
        """Raise unless the worker said that it is ready; see `start`."""
        if self._told.done():
            said = self._told.result()
            if isinstance(said, Ready):
                return
            if said.is_model:
                raise InvalidModelError(said.text)
            raise UnavailableError(f"{self._name} could not start: {said.text}")
        if self._child is not None and self._child.ended.done():
            status = self._child.ended.result()
            raise UnavailableError(f"{self._name} ended while starting (status {status})")
        raise UnavailableError(f"{self._name} was not ready within {self._patience.start_s:g} s")

    def _take(self, message: Any) -> None:
        """Handle a message of the worker."""
        if isinstance(message, list):
            self._take_answers(message)
            return
        self._told.set_result(message)
        if isinstance(message, Ready):
            self._watchdog.learn(message.slowest_s)
            self._change(MemberState.UP)

    def _take_answers(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            self._docket.take(answer)
        if self.state is MemberState.LATE:
            self._change(MemberState.UP)
        self._watchdog.heard(has_work=bool(self._docket.load))
        if self._docket.is_failing:
            _LOG.error("%s failed %d times in a row: killed", self._name, FAILURES_TO_KILL)
            self.kill()

    def _close(self) -> None:
        """Handle the end of the socket: the process has ended, or is about to."""
        self._watchdog.heard(has_work=False)
        self._change(MemberState.DOWN)
        self._docket.give_up()

    def _be_late(self) -> None:
        if self.state is MemberState.UP:
            self._change(MemberState.LATE)
        self._docket.be_late()

    def _be_hung(self) -> None:
        _LOG.error("%s was silent for %g s: killed", self._name, self._watchdog.hung_s)
        self.kill()

    def _change(self, state: MemberState) -> None:
        if self.state is not state:
            self.state = state
            self._on_change()
