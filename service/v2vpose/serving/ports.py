"""What the parts of the serving engine know of each other.

A *replica* is one copy of every member of an ensemble. A batch is formed once and given to one
replica; each of its members answers for itself, so one member's fate is not another's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Final, Protocol

from v2vpose.values import Decode, MemberAnswer, TargetCrop

MAX_FRAME_PX: Final = 4096 * 4096
"""The largest depth map an engine must take."""

BATCHES_A_REPLICA: Final = 2
"""How many batches a replica holds: one being worked on, one ready to follow."""


class Priority(IntEnum):
    """Who goes first when workers are busy; strict."""

    STREAM = 0
    NORMAL = 1
    BULK = 2


class MemberBatch(Protocol):
    """See `member.MemberBatch`; a protocol, so that a fake needs no nets."""

    @property
    def answers(self) -> tuple[MemberAnswer, ...]:
        """One for each crop."""
        ...

    @property
    def stage_s(self) -> dict[str, float]:
        """Seconds by stage, for the whole batch."""
        ...


class Member(Protocol):
    """See `member.Member`: one epoch checkpoint at work."""

    def estimate(self, crops: Sequence[TargetCrop], decode: Decode) -> MemberBatch:
        """Estimate the keypoints of every crop; each answer is as if it were alone."""
        ...


class LoadMember(Protocol):
    """Loads a member where it will work; picklable."""

    def __call__(self, epoch: int, *, threads: int) -> Member:
        """Load an epoch checkpoint that may use so many threads.

        Raises:
            InvalidModelError: the checkpoint is broken.
        """
        ...


class MemberState(Enum):
    """How far a member of a replica can be relied on."""

    UP = "up"
    LATE = "late"
    """Its worker has work and gave no sign of life for a while."""
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Question:
    """What a caller wants to know of one crop.

    Attributes:
        crop: the crop.
        decode: how to decode heatmaps.
        epochs: the epoch checkpoints that make up the answer.
        known: the answers of those that were asked already, by epoch; never of all.
    """

    crop: TargetCrop
    decode: Decode
    epochs: tuple[int, ...]
    known: Mapping[int, MemberAnswer] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ask:
    """One crop of a batch, and the epoch checkpoints to ask about it."""

    crop: TargetCrop
    epochs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """Crops that share a trip to a replica."""

    asks: tuple[Ask, ...]
    decode: Decode

    def rows_of(self, epoch: int) -> tuple[int, ...]:
        """Return the places in the batch of the crops that this epoch checkpoint is asked about."""
        return tuple(row for row, ask in enumerate(self.asks) if epoch in ask.epochs)


@dataclass(frozen=True, slots=True)
class MemberReply:
    """What a member says of a batch.

    Attributes:
        answers: by place in the batch; a crop it failed on is missing.
        stage_s: seconds by stage, for the whole batch.
        worker: where it ran; members of one worker work in turn.
    """

    answers: Mapping[int, MemberAnswer]
    stage_s: Mapping[str, float]
    worker: int


class Listener(Protocol):
    """Who waits for the replies to a batch: for every member asked one `replied` or `failed`."""

    def replied(self, epoch: int, reply: MemberReply) -> None:
        """Take a member's reply."""
        ...

    def failed(self, epoch: int) -> None:
        """Learn that a member will not reply: it is down, died or hung."""
        ...

    def late(self, epoch: int) -> None:
        """Learn that a member has been silent for long; it may still reply or fail."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """One worker.

    Attributes:
        name: for people, for example `hand/1 worker 0`.
        epochs: the epoch checkpoints it holds.
        device: `cpu`, `cuda:0`, ...
        up: warm and answering.
        restarts: how often it was started again.
        pid: its process, if it has one on this machine.
    """

    name: str
    epochs: tuple[int, ...]
    device: str
    up: bool
    restarts: int
    pid: int | None = None


class Engine(Protocol):
    """The ensemble of one model version at work: one or more replicas of every member."""

    @property
    def replicas(self) -> int:
        """How many replicas there are."""
        ...

    async def start(self) -> None:
        """Bring every worker up, warm and self-tested.

        Raises:
            InvalidModelError: the model version is broken, or failed its self-test.
            UnavailableError: a worker did not come up.
        """
        ...

    async def stop(self, *, grace_s: float) -> None:
        """Let workers finish within the grace, then end them; no reply comes afterwards."""
        ...

    def states(self, replica: int) -> Mapping[int, MemberState]:
        """Return the state of every member of a replica, by epoch."""
        ...

    def submit(self, batch: Batch, replica: int, epochs: frozenset[int], to: Listener) -> None:
        """Give a batch to these members of a replica; replies arrive later, never inside."""
        ...

    def on_change(self, notify: Callable[[], None]) -> None:
        """Call `notify` whenever a state changes."""
        ...

    def workers(self) -> Sequence[WorkerHealth]:
        """Return the state of every worker."""
        ...


@dataclass(frozen=True, slots=True)
class ModelHealth:
    """One model being served.

    Attributes:
        model: its name.
        version: the version being served.
        epochs: the epoch checkpoints of its ensemble.
        epochs_up: those with a warm worker in the replica that has most; one replica answers.
        quorum: how many must answer.
        workers: every worker.
    """

    model: str
    version: str
    epochs: tuple[int, ...]
    epochs_up: tuple[int, ...]
    quorum: int
    workers: tuple[WorkerHealth, ...]

    @property
    def ready(self) -> bool:
        """Whether enough epoch checkpoints are up to answer."""
        return len(self.epochs_up) >= self.quorum
