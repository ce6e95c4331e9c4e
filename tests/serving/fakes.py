"""Members, listeners and engines written by hand; a worker that holds them needs no nets."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from v2vpose.errors import InvalidModelError
from v2vpose.serving.ports import Batch, Listener, MemberReply, MemberState, WorkerHealth
from v2vpose.values import Decode, FloatArray, Intrinsics, MemberAnswer, TargetCrop

KEYPOINTS = 5
CAMERA = Intrinsics(240.0, 240.0, 8.0, 8.0)


@dataclass(frozen=True)
class FakeBatch:
    answers: tuple[MemberAnswer, ...]
    stage_s: dict[str, float] = field(default_factory=dict)


@dataclass
class FakeMember:
    """Says that every keypoint is at the crop's reference point, `epoch` mm to the right.

    The first reading of a crop is an order: see `crop_that`.
    """

    epoch: int
    wait_s: float = 0.0

    def estimate(self, crops: Sequence[TargetCrop], decode: Decode) -> FakeBatch:  # noqa: ARG002
        forward_s = 0.001 * self.epoch
        if self.wait_s:
            begin_s = time.perf_counter()
            time.sleep(self.wait_s)
            forward_s = time.perf_counter() - begin_s
        for crop in crops:
            ORDERS[int(crop.depth_mm.flat[0])](float(crop.depth_mm.flat[1]))
        answers = tuple(
            said(
                crop.reference_point_mm + (np.nan if crop.depth_mm.flat[0] == NAN else 0),
                self.epoch,
            )
            for crop in crops
        )
        return FakeBatch(answers, {"forward": forward_s})


def said(point_mm: FloatArray, epoch: int) -> MemberAnswer:
    keypoints_mm = np.tile(point_mm + np.array([epoch, 0, 0]), (KEYPOINTS, 1))
    return MemberAnswer(keypoints_mm, np.full(KEYPOINTS, 0.5), np.asarray(point_mm), 1)


def _fail(_: float) -> None:
    raise RuntimeError("ordered to fail")


ORDERS: Mapping[int, Callable[[float], None]] = {
    0: lambda _: None,
    1: _fail,
    2: lambda _: os.kill(os.getpid(), signal.SIGKILL),
    3: lambda _: os.kill(os.getpid(), signal.SIGSTOP),
    4: time.sleep,
    5: lambda _: None,
}
FAIL, DIE, STOP, SLEEP, NAN = 1, 2, 3, 4, 5


def crop(x_mm: float = 0.0, order: int = 0, argument: float = 0.0) -> TargetCrop:
    """A crop that a `FakeMember` obeys."""
    depth_mm = np.zeros((16, 16), dtype=np.float32)
    depth_mm[0, :2] = order, argument
    return TargetCrop(depth_mm, CAMERA, np.array([x_mm, 0.0, 500.0]), 250.0)


def load_fake(epoch: int, *, threads: int) -> FakeMember:
    assert threads > 0
    return FakeMember(epoch)


def load_slow(wait_s: float, epoch: int, *, threads: int) -> FakeMember:  # noqa: ARG001
    return FakeMember(epoch, wait_s=wait_s)


def load_broken(epoch: int, *, threads: int) -> FakeMember:  # noqa: ARG001
    raise InvalidModelError(f"epoch {epoch} is broken")


def load_crashing(epoch: int, *, threads: int) -> FakeMember:  # noqa: ARG001
    os.kill(os.getpid(), signal.SIGKILL)
    return FakeMember(epoch)


@dataclass
class Sent:
    """A batch given to a `FakeEngine`; the test answers it."""

    batch: Batch
    replica: int
    epochs: frozenset[int]
    to: Listener

    @property
    def xs_mm(self) -> list[float]:
        return [float(ask.crop.reference_point_mm[0]) for ask in self.batch.asks]

    def reply(self, *epochs: int, worker: int = 0) -> None:
        """Answer for these members; for all that were asked if none is named."""
        for epoch in epochs or sorted(self.epochs):
            rows = self.batch.rows_of(epoch)
            crops = [self.batch.asks[row].crop for row in rows]
            answers = {
                row: said(crop.reference_point_mm, epoch)
                for row, crop in zip(rows, crops, strict=True)
            }
            self.to.replied(epoch, MemberReply(answers, {"forward": 0.25}, worker))

    def fail(self, *epochs: int) -> None:
        for epoch in epochs or sorted(self.epochs):
            self.to.failed(epoch)


class FakeEngine:
    """An engine whose members are the test."""

    def __init__(self, epochs: Sequence[int] = (1, 2, 3), replicas: int = 1) -> None:
        self.replicas = replicas
        self.epochs = tuple(epochs)
        self.state = {
            replica: dict.fromkeys(self.epochs, MemberState.UP) for replica in range(replicas)
        }
        self.sent: list[Sent] = []

    async def start(self) -> None: ...

    async def stop(self, *, grace_s: float) -> None: ...

    def states(self, replica: int) -> Mapping[int, MemberState]:
        return self.state[replica]

    def submit(self, batch: Batch, replica: int, epochs: frozenset[int], to: Listener) -> None:
        self.sent.append(Sent(batch, replica, epochs, to))

    def on_change(self, notify: Callable[[], None]) -> None: ...

    def workers(self) -> Sequence[WorkerHealth]:
        return []


async def until(condition: Callable[[], object]) -> None:
    """Wait for what no event tells, for no longer than a slow machine may need."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.0005)


class Replies:
    """Listens to one batch, and lets a test wait for what it hears."""

    def __init__(self) -> None:
        self.replies: dict[int, MemberReply] = {}
        self.failed_at_s: dict[int, float] = {}
        self.late_ones: set[int] = set()
        self._changed = asyncio.Event()

    def replied(self, epoch: int, reply: MemberReply) -> None:
        assert epoch not in self.replies
        assert epoch not in self.failed_at_s
        self.replies[epoch] = reply
        self._changed.set()

    def failed(self, epoch: int) -> None:
        assert epoch not in self.replies
        assert epoch not in self.failed_at_s
        self.failed_at_s[epoch] = time.monotonic()
        self._changed.set()

    def late(self, epoch: int) -> None:
        self.late_ones.add(epoch)
        self._changed.set()

    async def heard(self, condition: Callable[[], object]) -> None:
        """Wait, for no longer than a slow machine may need."""
        async with asyncio.timeout(30):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def all_of(self, *epochs: int) -> None:
        await self.heard(lambda: {*self.replies, *self.failed_at_s} >= set(epochs))
