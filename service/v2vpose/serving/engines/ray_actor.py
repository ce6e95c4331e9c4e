"""The far side of a Ray engine: an actor that holds one member and answers several front ends.

It knows which front ends hold it, from their calls. Ray starts it again elsewhere when its process
or its node dies; when no front end has called for long it ends itself, so that none that crashed
leaves devices taken.
"""

import asyncio
import os
import pickle
import platform
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from v2vpose.errors import InvalidModelError
from v2vpose.serving.engines.asking import answer, warmed
from v2vpose.serving.engines.messages import Answer, Broken, Ready
from v2vpose.serving.ports import LoadMember, Member
from v2vpose.serving.self_test import SelfTest
from v2vpose.values import Decode, TargetCrop

FORGOTTEN_S: Final = 30.0
"""A front end that was silent for so long has gone."""


@dataclass(frozen=True, slots=True)
class ActorRecipe:
    """What an actor holds.

    Attributes:
        load: loads the member, from a model store that every node sees at the same path.
        epoch: which member.
        threads: how many it may use.
        max_batch_size: every size up to it is warmed up.
        self_test: must pass before the actor is ready.
        orphan_s: without any front end for so long, the actor ends itself.
    """

    load: LoadMember
    epoch: int
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


class MemberActor:
    """One member at work; Ray runs its coroutines on one loop, and nets run on one thread.

    The member is loaded when the first front end joins, not in the constructor: a crash then fails
    that call, where Ray would repeat the constructor for ever.

    Args:
        recipe: what it holds.
        end: ends this actor for good.
    """

    def __init__(self, recipe: ActorRecipe, end: Callable[[], None]) -> None:
        self._recipe = recipe
        self._fronts: dict[str, float] = {}  # when each front end was last heard of
        self._heard_s = time.monotonic()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="member")
        self._member: Member | None = None
        self._starting: asyncio.Future[Ready | Broken] | None = None
        threading.Thread(target=self._end_alone, args=(recipe.orphan_s, end), daemon=True).start()

    async def join(self, front: str) -> Hello:
        """Take a front end in, and tell it how the start went."""
        self._hear(front)
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

    async def answer(self, crops: bytes, rows: Sequence[int], number: int) -> Answer:
        """Answer a batch; what the member raises is inside the answer.

        Args:
            crops: of the batch, see `packed_crops`.
            rows: those to look at, by their places in the batch.
            number: of the job.
        """
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._answer, crops, rows, number
        )

    def _answer(self, packed: bytes, rows: Sequence[int], number: int) -> Answer:
        if self._member is None:
            raise RuntimeError("an actor that has not started is not asked")
        crops, decode = unpacked_crops(packed)
        asked = {row: crops[row] for row in rows}
        return answer(self._member, asked, decode, number=number, epoch=self._recipe.epoch)

    def _start(self) -> Ready | Broken:
        recipe = self._recipe
        try:
            member = recipe.load(recipe.epoch, threads=recipe.threads)
            slowest_s = warmed(
                {recipe.epoch: member},
                recipe.self_test,
                threads=recipe.threads,
                max_batch_size=recipe.max_batch_size,
            )
        except InvalidModelError as error:
            return Broken(str(error), is_model=True)
        except Exception:  # noqa: BLE001 - the front end decides what to do
            return Broken(traceback.format_exc(), is_model=False)
        self._member = member
        return Ready(slowest_s)

    def _hear(self, front: str) -> None:
        self._heard_s = time.monotonic()
        self._fronts[front] = self._heard_s

    def _company(self) -> int:
        oldest_s = time.monotonic() - FORGOTTEN_S
        self._fronts = {front: s for front, s in self._fronts.items() if s > oldest_s}
        return len(self._fronts)

    def _end_alone(self, orphan_s: float, end: Callable[[], None]) -> None:
        while (left_s := self._heard_s + orphan_s - time.monotonic()) > 0:
            time.sleep(left_s)
        end()


def packed_crops(crops: Sequence[TargetCrop], decode: Decode) -> bytes:
    """Return a batch as it travels."""
    return pickle.dumps((tuple(crops), decode.value), protocol=pickle.HIGHEST_PROTOCOL)


def unpacked_crops(packed: bytes) -> tuple[tuple[TargetCrop, ...], Decode]:
    """Return the batch that travelled so."""
    crops, decode = pickle.loads(packed)  # noqa: S301 - our own process at the other end
    return crops, Decode(decode)


def this_machine() -> str:
    """Return what names the process ids of this machine: its boot, and the namespace of ids."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
