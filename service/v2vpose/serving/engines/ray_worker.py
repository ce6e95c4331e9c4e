"""A front end's side of one actor: joins it, watches over it, joins it again after its end.

Ray starts an actor again; a front end's part is to notice the end, to tell who waited, and to end
an actor that hangs. The rules for late, hung and failing are those of a local worker.
"""

import asyncio
import logging
import pickle
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from v2vpose.errors import InvalidModelError, PoseError, UnavailableError
from v2vpose.serving.engines.docket import FAILURES_TO_KILL, Docket
from v2vpose.serving.engines.messages import Broken, Job
from v2vpose.serving.engines.placement import WorkerPlan
from v2vpose.serving.engines.ray_actor import Hello, this_machine
from v2vpose.serving.engines.ray_cluster import ActorError, ActorHandle
from v2vpose.serving.engines.supervisor import BackOff
from v2vpose.serving.engines.watchdog import Patience, Watchdog
from v2vpose.serving.ports import Listener, MemberState

_LOG: Final = logging.getLogger(__name__)
_WATCH_S: Final = 5.0
_LEAVE_S: Final = 2.0

_T = TypeVar("_T")


class RayWorker:
    """Members of one replica, through all lives of the actor that holds them.

    Args:
        name: for people.
        index: which actor of the engine this is.
        plan: what it holds.
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
        index: int,
        plan: WorkerPlan,
        front: str,
        hold: Callable[[], ActorHandle],
        patience: Patience,
        back_off: BackOff,
        on_change: Callable[[], None],
    ) -> None:
        self.state = MemberState.DOWN
        self.restarts = 0
        self.plan = plan
        self._name = name
        self._front = front
        self._hold = hold
        self._patience = patience
        self._back_off = back_off
        self._on_change = on_change
        self._watchdog = Watchdog(patience, on_late=self._be_late, on_hung=self._be_hung)
        self._slowest_s = 0.0
        self._actor: ActorHandle | None = None
        self._hello: Hello | None = None
        self._docket = Docket(name, index)
        self._idle = asyncio.Event()
        self._lost = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """For people: what it is, and where it runs."""
        return self._name if self._hello is None else f"{self._name} on {self._hello.node}"

    @property
    def load(self) -> int:
        """How many members' answers are awaited."""
        return self._docket.load

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

    def ask(self, job: Job, depth: Any, to: Listener) -> None:
        """Give the actor a job.

        Args:
            job: what to do; its crops are places in the depth.
            depth: of the crops, or a `stored` reference to it.
            to: hears of every member named in the job, once.
        """
        if self._actor is None or self.state is MemberState.DOWN:
            for epoch in job.rows:
                asyncio.get_running_loop().call_soon(to.failed, epoch)
            return
        self._docket.enter(job.number, job.rows, to)
        self._idle.clear()
        self._watchdog.begin()
        content = pickle.dumps(job.plain(), protocol=pickle.HIGHEST_PROTOCOL)
        self._await(job.number, self._actor.answer(self._front, content, depth))

    async def stop(self, *, grace_s: float) -> None:
        """Let the actor finish our jobs within the grace, then leave it; the last one ends it."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            self._keeper = None
        self._change(MemberState.DOWN)
        if self._docket.load:
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
                _LOG.warning("%s is lost; Ray starts it again", self.name)
                self.restarts += 1
                self._change(MemberState.DOWN)
            wait_s = self._back_off.next_s(wait_s, time.monotonic() - begin_s)
            await asyncio.sleep(wait_s)
            try:
                self._actor = await asyncio.to_thread(self._hold)
                await self._join(self._actor)
            except (PoseError, ActorError) as error:
                _LOG.debug("not yet: %s", error)

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
                others = watch.result() - 1
                self._watchdog.learn(self._slowest_s * (1 + others * len(self.plan.epochs)))
        finally:
            lost.cancel()

    def _await(self, number: int, call: Any) -> None:
        """Take the answers that a call brings; without a future of the loop, it costs less."""
        loop = asyncio.get_running_loop()

        def ended(future: "Future[bytes]") -> None:  # in a thread of Ray
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._take, number, future)

        call.future().add_done_callback(ended)

    def _take(self, number: int, future: "Future[bytes]") -> None:
        """Handle the end of a call that brings answers to a job."""
        error = future.exception()
        if number not in self._docket or self._actor is None:  # given up before
            return
        if error is not None:
            _LOG.warning("%s: %s", self.name, type(error).__name__)
            self._lose()
            self._give_up()
            return
        for answer in pickle.loads(future.result()):  # noqa: S301 - our own process
            self._docket.take(answer)
        if number in self._docket:
            self._await(number, self._actor.more(self._front, number))
        if self.state is MemberState.LATE:
            self._change(MemberState.UP)
        self._watchdog.heard(has_work=bool(self._docket.load))
        if not self._docket.load:
            self._idle.set()
        if self._docket.is_failing:
            _LOG.error("%s failed %d times in a row: killed", self.name, FAILURES_TO_KILL)
            self._kill()

    def _be_late(self) -> None:
        if self.state is MemberState.UP:
            self._change(MemberState.LATE)
        self._docket.be_late()

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
        self._idle.set()
        self._watchdog.heard(has_work=False)
        self._docket.give_up()

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
