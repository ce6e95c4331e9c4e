"""A front end's side of one actor: joins it, watches over it, joins it again after its end.

Ray starts an actor again; a front end's part is to notice the end, to tell who waited, and to end
an actor that hangs. The rules for late, hung and failing are those of a local worker.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from v2vpose.errors import InvalidModelError, PoseError, UnavailableError
from v2vpose.serving.engines.messages import Answer, Broken
from v2vpose.serving.engines.ray_actor import Hello, this_machine
from v2vpose.serving.engines.ray_cluster import ActorError, ActorHandle
from v2vpose.serving.engines.supervisor import BackOff
from v2vpose.serving.engines.watchdog import Patience, Watchdog
from v2vpose.serving.ports import Listener, MemberReply, MemberState

_LOG: Final = logging.getLogger(__name__)
_WATCH_S: Final = 5.0
_LEAVE_S: Final = 2.0
_FAILURES_TO_KILL: Final = 3  # as in a local worker

_T = TypeVar("_T")


class RayMember:
    """One member of one replica, through all lives of its actor.

    Args:
        name: for people.
        epoch: which member.
        index: which actor of the engine this is.
        front: names this front end to the actor.
        hold: finds the actor or makes it; blocks.
        patience: how long it may be silent.
        back_off: how long to wait between two tries to join it again.
        on_change: called when its state changes.
    """

    def __init__(
        self,
        *,
        name: str,
        epoch: int,
        index: int,
        front: str,
        hold: Callable[[], ActorHandle],
        patience: Patience,
        back_off: BackOff,
        on_change: Callable[[], None],
    ) -> None:
        self.state = MemberState.DOWN
        self.restarts = 0
        self.epoch = epoch
        self._name = name
        self._index = index
        self._front = front
        self._hold = hold
        self._patience = patience
        self._back_off = back_off
        self._on_change = on_change
        self._watchdog = Watchdog(patience, on_late=self._be_late, on_hung=self._be_hung)
        self._slowest_s = 0.0
        self._actor: ActorHandle | None = None
        self._hello: Hello | None = None
        self._tasks: dict[int, Listener] = {}  # who waits, by number of the job
        self._idle = asyncio.Event()
        self._failures = 0  # batches in a row without any keypoints
        self._lost = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """For people: what it is, and where it runs."""
        return self._name if self._hello is None else f"{self._name} on {self._hello.node}"

    @property
    def pid(self) -> int | None:
        """Its process id, if that process is on this machine."""
        hello = self._hello
        return hello.pid if hello is not None and hello.machine == this_machine() else None

    async def start(self) -> None:
        """Join the actor, and watch over it from then on.

        An actor that was there before may be down for now; one that is new must come up.

        Raises:
            InvalidModelError, UnavailableError: it cannot be loaded, ended, or took too long.
        """
        holding = asyncio.create_task(asyncio.to_thread(self._hold))
        try:
            self._actor = await asyncio.shield(holding)
        except asyncio.CancelledError:
            self._actor = await holding  # a thread cannot be cancelled; `stop` needs to know
            raise
        try:
            await self._join(self._actor)
        except UnavailableError:
            if not self._actor.adopted:
                raise
            _LOG.warning("%s is there, but not up", self._name)
        self._keeper = asyncio.create_task(self._keep_joined(), name=f"keep {self._name} joined")

    def ask(self, number: int, crops: Any, rows: tuple[int, ...], to: Listener) -> None:
        """Give the actor a job.

        Args:
            number: names the job.
            crops: of the batch, packed, or stored.
            rows: those to look at.
            to: hears of this member once.
        """
        if self._actor is None or self.state is MemberState.DOWN:
            asyncio.get_running_loop().call_soon(to.failed, self.epoch)
            return
        self._tasks[number] = to
        self._idle.clear()
        self._watchdog.begin()
        reply = _future(self._actor.answer(crops, rows, number))
        reply.add_done_callback(lambda future: self._take(number, future))

    async def stop(self, *, grace_s: float) -> None:
        """Let the actor finish our jobs within the grace, then leave it; the last one ends it."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            self._keeper = None
        self._change(MemberState.DOWN)
        if self._tasks:
            await _within(grace_s, self._idle.wait())
        self._give_up()
        actor, self._actor = self._actor, None
        if actor is None:
            return
        try:
            left = await asyncio.wait_for(_future(actor.leave(self._front)), _LEAVE_S)
        except (TimeoutError, ActorError):
            left = 0  # others who hold it make it anew
        if left == 0:
            await asyncio.to_thread(actor.kill, for_good=True)

    async def _join(self, actor: ActorHandle) -> None:
        patience_s = self._patience.start_s
        try:
            hello = await asyncio.wait_for(_future(actor.join(self._front)), patience_s)
        except TimeoutError as error:
            raise UnavailableError(
                f"{self._name} was not ready within {patience_s:g} s; "
                "does the cluster have the cores and GPUs that it asks for?"
            ) from error
        except ActorError as error:
            raise UnavailableError(f"{self._name} ended while starting: {error}") from error
        if isinstance(hello.told, Broken):
            await asyncio.to_thread(actor.kill, for_good=True)
            if hello.told.is_model:
                raise InvalidModelError(hello.told.text)
            raise UnavailableError(f"{self._name} could not start: {hello.told.text}")
        self._hello = hello
        self._failures = 0
        self._slowest_s = hello.told.slowest_s
        self._watchdog.learn(self._slowest_s)
        self._lost.clear()
        self._change(MemberState.UP)

    async def _keep_joined(self) -> None:
        wait_s = 0.0
        while True:
            begin_s = time.monotonic()
            if self._actor is not None and self.state is not MemberState.DOWN:
                await self._watched(self._actor)
                self._give_up()
                self.restarts += 1
                self._change(MemberState.DOWN)
            wait_s = self._back_off.next_s(wait_s, time.monotonic() - begin_s)
            _LOG.warning("%s is down; joined again in %g s at the earliest", self.name, wait_s)
            await asyncio.sleep(wait_s)
            try:
                self._actor = await asyncio.to_thread(self._hold)
                await self._join(self._actor)
            except (PoseError, ActorError) as error:
                _LOG.warning("%s: %s", self._name, error)

    async def _watched(self, actor: ActorHandle) -> None:
        """Return when the actor is lost: it ended, it hung, or the way to it is gone."""
        lost = asyncio.create_task(self._lost.wait())
        try:
            while True:
                watch = _future(actor.watch(self._front, _WATCH_S))
                watch.add_done_callback(_forget)  # nobody may be there any more at its end
                limit_s = _WATCH_S + self._watchdog.hung_s
                await asyncio.wait(
                    {watch, lost}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED
                )
                if lost.done():
                    return
                if not watch.done():
                    self._be_hung()
                    return
                if watch.exception() is not None:
                    return
                # a queue of several front ends is no silence
                self._watchdog.learn(self._slowest_s * watch.result())
        finally:
            lost.cancel()

    def _take(self, number: int, future: "asyncio.Future[Answer]") -> None:
        """Handle the end of a call."""
        error = future.exception()
        to = self._tasks.pop(number, None)
        if to is None:  # given up before
            return
        if not self._tasks:
            self._idle.set()
        if error is not None:
            _LOG.warning("%s: %s", self.name, type(error).__name__)
            self._lose()
            to.failed(self.epoch)
            return
        if self.state is MemberState.LATE:
            self._change(MemberState.UP)
        self._watchdog.heard(has_work=bool(self._tasks))
        self._take_answer(future.result(), to)

    def _take_answer(self, answer: Answer, to: Listener) -> None:
        if answer.error is not None:
            _LOG.error("%s failed: %s", self.name, answer.error)
        answers = answer.answers()
        self._failures = 0 if answers else self._failures + 1
        to.replied(self.epoch, MemberReply(answers, answer.stage_s, worker=self._index))
        if self._failures >= _FAILURES_TO_KILL:
            _LOG.error("%s failed %d times in a row: killed", self.name, self._failures)
            self._kill()

    def _be_late(self) -> None:
        if self.state is MemberState.UP:
            self._change(MemberState.LATE)
        for to in list(self._tasks.values()):
            to.late(self.epoch)

    def _be_hung(self) -> None:
        _LOG.error("%s was silent for %g s: killed", self.name, self._watchdog.hung_s)
        self._kill()

    def _kill(self) -> None:
        """End the actor's process; Ray starts it again."""
        if self._actor is not None:
            actor = self._actor
            asyncio.get_running_loop().run_in_executor(None, lambda: actor.kill(for_good=False))
        self._lose()

    def _lose(self) -> None:
        """Take the actor for lost; the keeper does the rest."""
        self._change(MemberState.DOWN)
        self._lost.set()

    def _give_up(self) -> None:
        """Tell everybody who still waits."""
        tasks, self._tasks = self._tasks, {}
        self._idle.set()
        self._watchdog.heard(has_work=False)
        for to in tasks.values():
            to.failed(self.epoch)

    def _change(self, state: MemberState) -> None:
        if self.state is not state:
            self.state = state
            self._on_change()


def _future(call: Any) -> "asyncio.Future[Any]":
    """Return a call's end as a future of this loop."""
    return asyncio.wrap_future(call.future())


def _forget(future: "asyncio.Future[Any]") -> None:
    """Look at an error that nobody needs, so that nobody complains."""
    if not future.cancelled():
        future.exception()


async def _within(limit_s: float, work: Awaitable[_T]) -> None:
    """Wait for work, but not for longer than this."""
    try:
        async with asyncio.timeout(limit_s):
            await work
    except TimeoutError:
        pass
