"""The far side of a Ray engine: an actor that holds members and answers several front ends.

It knows which front ends hold it, from their calls. Ray starts it again elsewhere when its process
or its node dies; when no front end has called for long it ends itself, so that none that crashed
leaves devices taken.

A call to Ray costs far more than what it carries, so a batch is one call for all members here, and
the answers of quick ones are one reply. Who waits for slower ones calls again: see `more`.
"""

import asyncio
import os
import pickle
import platform
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from v2vpose.errors import InvalidModelError
from v2vpose.serving.engines.asking import answer, in_groups, warmed
from v2vpose.serving.engines.messages import Answer, Broken, Job, Ready
from v2vpose.serving.engines.shared_crops import crop_in
from v2vpose.serving.ports import LoadMember, Member
from v2vpose.serving.self_test import SelfTest

FORGOTTEN_S: Final = 30.0
"""A front end that was silent for so long has gone."""


@dataclass(frozen=True, slots=True)
class ActorRecipe:
    """What an actor holds.

    Attributes:
        load: loads a member, from a model store that every node sees at the same path.
        epochs: the members; they work in turn.
        threads: how many each may use.
        max_batch_size: every size up to it is warmed up.
        self_test: must pass before the actor is ready.
        orphan_s: without any front end for so long, the actor ends itself.
    """

    load: LoadMember
    epochs: tuple[int, ...]
    threads: int
    max_batch_size: int
    self_test: SelfTest
    orphan_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Hello:
    """What an actor says to a front end that joins.

    Attributes:
        told: whether it is ready.
        pid: its process.
        machine: where that process id means something; see `this_machine`.
        node: the name of its node, for people.
    """

    told: Ready | Broken
    pid: int
    machine: str
    node: str


class WorkerActor:
    """Members at work; Ray runs its coroutines on one loop, and nets run on one thread.

    The members are loaded when the first front end joins, not in the constructor: a crash then
    fails that call, where Ray would repeat the constructor for ever.

    Args:
        recipe: what it holds.
        end: ends this actor for good.
    """

    def __init__(self, recipe: ActorRecipe, end: Callable[[], None]) -> None:
        self._recipe = recipe
        self._fronts: dict[str, float] = {}  # when each front end was last heard of
        self._heard_s = time.monotonic()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="members")
        self._members: Mapping[int, Member] | None = None
        self._outboxes: dict[tuple[str, int], asyncio.Queue[tuple[bytes, bool]]] = {}
        self._starting: asyncio.Future[Ready | Broken] | None = None
        threading.Thread(target=self._end_alone, args=(recipe.orphan_s, end), daemon=True).start()

    async def join(self, front: str) -> Hello:
        """Take a front end in, and tell it how the start went."""
        self._hear(front)
        for key in [key for key in self._outboxes if key[0] == front]:
            del self._outboxes[key]  # of jobs that it has given up
        if self._starting is None:
            loop = asyncio.get_running_loop()
            self._starting = loop.run_in_executor(self._thread, self._start)
        told = await asyncio.shield(self._starting)  # for all who join
        self._hear(front)
        return Hello(told, os.getpid(), this_machine(), platform.node())

    async def watch(self, front: str, wait_s: float) -> int:
        """Return how many front ends there are, after a while; a call that is always out.

        It fails when the actor ends: that is how a front end learns of it.
        """
        self._hear(front)
        await asyncio.sleep(wait_s)
        self._hear(front)
        return self._company()

    async def leave(self, front: str) -> int:
        """Let a front end go; return how many are left."""
        self._fronts.pop(front, None)
        return self._company()

    async def answer(self, front: str, job: bytes, depth: bytes) -> bytes:
        """Work on a batch; what members raise is inside their answers.

        Args:
            front: who asks.
            job: pickle of `Job.plain`; its crops are places in the depth.
            depth: see `shared_crops.depth_of`.

        Returns:
            Pickle of the first answers, at least one, and soon; for the rest see `more`.
        """
        self._hear(front)
        if self._members is None:
            raise RuntimeError("an actor that has not started is not asked")
        one = Job.unpacked(pickle.loads(job))  # noqa: S301 - our own process at the other end
        loop = asyncio.get_running_loop()
        outbox = self._outboxes[front, one.number] = asyncio.Queue()

        def tell(content: bytes, is_last: bool) -> None:
            loop.call_soon_threadsafe(outbox.put_nowait, (content, is_last))

        self._thread.submit(self._work, self._members, one, depth, tell)  # it tells all itself
        return await self.more(front, one.number)

    async def more(self, front: str, number: int) -> bytes:
        """Return the next answers to a job that are there, waiting for one; until none is left."""
        content, is_last = await self._outboxes[front, number].get()
        if is_last:
            self._outboxes.pop((front, number), None)
        return content

    @staticmethod
    def _work(
        members: Mapping[int, Member], job: Job, depth: bytes, tell: Callable[[bytes, bool], None]
    ) -> None:
        """Ask every member named in the job, and tell their answers, quick ones together."""

        def one(epoch: int) -> Answer:
            crops = {row: crop_in(depth, job.crops[row]) for row in job.rows[epoch]}
            return answer(members[epoch], crops, job.decode, number=job.number, epoch=epoch)

        left = len(job.rows)
        for group in in_groups(one(epoch) for epoch in job.rows):
            left -= len(group)
            tell(pickle.dumps(group, protocol=pickle.HIGHEST_PROTOCOL), left == 0)

    def _start(self) -> Ready | Broken:
        recipe = self._recipe
        try:
            members = {epoch: recipe.load(epoch, threads=recipe.threads) for epoch in recipe.epochs}
            slowest_s = warmed(
                members,
                recipe.self_test,
                threads=recipe.threads,
                max_batch_size=recipe.max_batch_size,
            )
        except InvalidModelError as error:
            return Broken(str(error), is_model=True)
        except Exception:  # noqa: BLE001 - the front end decides what to do
            return Broken(traceback.format_exc(), is_model=False)
        self._members = members
        return Ready(slowest_s)

    def _hear(self, front: str) -> None:
        self._heard_s = time.monotonic()
        self._fronts[front] = self._heard_s

    def _company(self) -> int:
        oldest_s = time.monotonic() - FORGOTTEN_S
        self._fronts = {front: s for front, s in self._fronts.items() if s > oldest_s}
        for front, number in list(self._outboxes):
            if front not in self._fronts:
                del self._outboxes[front, number]
        return len(self._fronts)

    def _end_alone(self, orphan_s: float, end: Callable[[], None]) -> None:
        while (left_s := self._heard_s + orphan_s - time.monotonic()) > 0:
            time.sleep(left_s)
        end()


def this_machine() -> str:
    """Return what names the process ids of this machine: its boot, and the namespace of ids."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
