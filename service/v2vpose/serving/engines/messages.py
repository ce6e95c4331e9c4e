"""What the service and a worker process say to each other over their socket.

A message is its length (4 bytes, little endian) and its pickle; both ends are ours and of the same
version. Depth never travels here: a `Job` names places in shared memory. The answers of members
that are quick travel together, as a list.
"""

import pickle
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

import numpy as np

from v2vpose.serving.engines.shared_crops import CropRef
from v2vpose.serving.ports import LoadMember
from v2vpose.serving.self_test import SelfTest
from v2vpose.values import Decode, FloatArray, MemberAnswer

_LENGTH: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Start:
    """First message to a worker: what to hold.

    Attributes:
        load: loads a member.
        epochs: the members to load.
        threads: how many each may use.
        crops_fd: file descriptor of the shared crops.
        max_batch_size: every size up to it is warmed up.
        self_test: must pass before the worker is ready.
    """

    load: LoadMember
    epochs: tuple[int, ...]
    threads: int
    crops_fd: int
    max_batch_size: int
    self_test: SelfTest


@dataclass(frozen=True, slots=True)
class Ready:
    """Warm and self-tested. `slowest_s`: the longest a member took for the largest batch."""

    slowest_s: float


@dataclass(frozen=True, slots=True)
class Broken:
    """The worker cannot start; `is_model` means that the model version is to blame."""

    text: str
    is_model: bool


class Job(NamedTuple):
    """A batch for some members of a worker.

    Attributes:
        number: names the job in its answers.
        crops: where the crops are.
        decode: how to decode heatmaps.
        rows: which crops each member is asked about, by epoch, in the order of work.
    """

    number: int
    crops: tuple[CropRef, ...]
    decode: Decode
    rows: dict[int, tuple[int, ...]]


class Answer(NamedTuple):
    """What one member says of a job; B crops that it did not fail on.

    Attributes:
        number: of the job.
        epoch: which member.
        rows: (B,) places in the batch.
        keypoints_mm: (B, K, 3).
        confidence: (B, K).
        refined_point_mm: (B, 3).
        occupied_vox: (B,).
        stage_s: seconds by stage, for the whole batch.
        error: the trace of a failure, if there was one.
    """

    number: int
    epoch: int
    rows: tuple[int, ...]
    keypoints_mm: FloatArray
    confidence: FloatArray
    refined_point_mm: FloatArray
    occupied_vox: tuple[int, ...]
    stage_s: dict[str, float]
    error: str | None

    @classmethod
    def of(
        cls,
        number: int,
        epoch: int,
        answers: Mapping[int, MemberAnswer],
        stage_s: dict[str, float],
        error: str | None = None,
    ) -> Self:
        """Return the message for answers by place in the batch; few arrays travel fast."""
        each = answers.values()
        return cls(
            number,
            epoch,
            tuple(answers),
            np.array([answer.keypoints_mm for answer in each]),
            np.array([answer.confidence for answer in each]),
            np.array([answer.refined_point_mm for answer in each]),
            tuple(answer.occupied_vox for answer in each),
            stage_s,
            error,
        )

    def answers(self) -> dict[int, MemberAnswer]:
        """Return the answers by place in the batch."""
        return {
            row: MemberAnswer(
                self.keypoints_mm[b],
                self.confidence[b],
                self.refined_point_mm[b],
                self.occupied_vox[b],
            )
            for b, row in enumerate(self.rows)
        }


def packed(message: object) -> bytes:
    """Return a message as it travels."""
    content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


class Unpacker:
    """Turns pieces of a byte stream into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, piece: bytes) -> Iterator[Any]:
        """Add a piece, and yield every message that is complete."""
        self._buffer += piece
        while len(self._buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                return
            content = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield pickle.loads(content)  # noqa: S301 - our own process at the other end


def received(connection: socket.socket, unpacker: Unpacker) -> Iterator[Any]:
    """Yield messages as they come, blocking in between, until the other end closes."""
    while piece := connection.recv(65536):
        yield from unpacker.feed(piece)
