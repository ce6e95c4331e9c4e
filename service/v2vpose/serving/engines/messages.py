"""What the service and a worker process say to each other over their socket.

A message is its length (4 bytes, little endian) and its pickle; both ends are ours and of the same
version. Depth never travels here: a `Job` names places in shared memory, and is a tuple on its way.
The answers of members that are quick travel together, as a list.
"""

import pickle
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from v2vpose.serving.engines.shared_crops import CropRef
from v2vpose.serving.ports import LoadMember
from v2vpose.serving.self_test import SelfTest
from v2vpose.values import Decode, MemberAnswer

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

    def plain(self) -> tuple[Any, ...]:
        """Return the job as it travels: plain tuples, which pickle in a tenth of the time."""
        crops = tuple(tuple(crop) for crop in self.crops)
        return self.number, crops, self.decode.value, self.rows

    def packed(self) -> bytes:
        """Return the message to a worker process."""
        return packed(self.plain())

    @classmethod
    def unpacked(cls, message: tuple[Any, ...]) -> Self:
        """Return the job that travelled as this message."""
        number, crops, decode, rows = message
        return cls(number, tuple(CropRef(*crop) for crop in crops), Decode(decode), rows)


class Answer(NamedTuple):
    """What one member says of a job; B crops that it did not fail on.

    Attributes:
        number: of the job.
        epoch: which member.
        rows: (B,) places in the batch.
        occupied_vox: (B,).
        values: (B, 4 K + 3) float64: keypoints_mm, confidence, refined_point_mm of each crop. One
            string of bytes crosses the socket in a tenth of the time that arrays take.
        stage_s: seconds by stage, for the whole batch.
        error: the trace of a failure, if there was one.
        slices: of heatmaps, by place in the batch, for crops that want them.
    """

    number: int
    epoch: int
    rows: tuple[int, ...]
    occupied_vox: tuple[int, ...]
    values: bytes
    stage_s: dict[str, float]
    error: str | None
    slices: dict[int, NDArray[np.uint8]]

    @classmethod
    def of(
        cls,
        number: int,
        epoch: int,
        answers: Mapping[int, MemberAnswer],
        stage_s: dict[str, float],
        error: str | None = None,
    ) -> Self:
        """Return the message for answers by place in the batch."""
        each = answers.values()
        parts = [
            np.concatenate(
                (answer.keypoints_mm.ravel(), answer.confidence, answer.refined_point_mm),
                dtype=np.float64,
            ).tobytes()
            for answer in each
        ]
        occupied_vox = tuple(answer.occupied_vox for answer in each)
        slices = {
            row: answer.heatmap_slices
            for row, answer in answers.items()
            if answer.heatmap_slices is not None
        }
        values = b"".join(parts)
        return cls(number, epoch, tuple(answers), occupied_vox, values, stage_s, error, slices)

    def answers(self) -> dict[int, MemberAnswer]:
        """Return the answers by place in the batch."""
        if not self.rows:
            return {}
        values = np.frombuffer(self.values).reshape(len(self.rows), -1)  # (B, 4 K + 3)
        end = values.shape[1] - 3
        start = end * 3 // 4
        return {
            row: MemberAnswer(
                keypoints_mm=one[:start].reshape(-1, 3),
                confidence=one[start:end],
                refined_point_mm=one[end:],
                occupied_vox=occupied_vox,
                heatmap_slices=self.slices.get(row),
            )
            for row, occupied_vox, one in zip(self.rows, self.occupied_vox, values, strict=True)
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
