"""A worker process, `python -m v2vpose.serving.engines.worker FD NAME`: holds members, answers.

It ends when the service closes the socket (end of file), and is killed when the service dies.
Signals meant for the whole process group (Ctrl-C, a service manager's SIGTERM) are the service's
business: it drains first.
"""

import ctypes
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import numpy as np

from v2vpose.errors import InvalidModelError
from v2vpose.serving.engines.messages import (
    Answer,
    Broken,
    Job,
    Ready,
    Start,
    Unpacker,
    packed,
    received,
)
from v2vpose.serving.engines.shared_crops import CropsView
from v2vpose.serving.ports import Member
from v2vpose.serving.self_test import warm_up
from v2vpose.values import Decode, MemberAnswer, TargetCrop

_PR_SET_PDEATHSIG: Final = 1
_SEND_WITHIN_S: Final = 0.005


class Worker:
    """Members and the crops they look at.

    Args:
        members: by epoch.
        crops: the worker's end of the shared crops.
    """

    def __init__(self, members: Mapping[int, Member], crops: CropsView) -> None:
        self._members = members
        self._crops = crops

    def answer(self, job: Job, epoch: int) -> Answer:
        """Ask one member; whatever it raises costs only the crops that made it raise."""
        rows = job.rows[epoch]
        crops = [self._crops.crop(job.crops[row]) for row in rows]
        member = self._members[epoch]
        try:
            answers, stage_s = _ask(member, crops, job.decode)
            return Answer.of(job.number, epoch, _finite(rows, answers), stage_s)
        except Exception:  # noqa: BLE001 - it is reported, and the crops are tried one by one
            error = traceback.format_exc()
        if len(crops) == 1:
            return Answer.of(job.number, epoch, {}, {}, error)
        return self._one_by_one(job, epoch, error)

    def _one_by_one(self, job: Job, epoch: int, error: str) -> Answer:
        found: dict[int, MemberAnswer] = {}
        total_s: dict[str, float] = {}
        for row in job.rows[epoch]:
            alone = Job(job.number, job.crops, job.decode, {epoch: (row,)})
            answer = self.answer(alone, epoch)
            found |= answer.answers()
            for stage, seconds in answer.stage_s.items():
                total_s[stage] = total_s.get(stage, 0.0) + seconds
        return Answer.of(job.number, epoch, found, total_s, error)


def main() -> None:
    """Serve the socket whose file descriptor is the first argument."""
    _outlive_signals_but_not_the_service()
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        connection.set_inheritable(False)
        messages = received(connection, Unpacker())
        worker = None
        with suppress(ConnectionError):  # the service has gone
            for message in messages:
                if isinstance(message, Start):
                    worker = _started(message, connection)
                if worker is None:
                    return
                if isinstance(message, tuple):
                    _work(worker, Job.unpacked(message), connection)


def _outlive_signals_but_not_the_service() -> None:
    """Be killed when the service dies, even while stopped or deep inside a native call."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _started(start: Start, connection: socket.socket) -> Worker | None:
    """Load, warm up and test the members, and tell the service how that went."""
    try:
        crops = CropsView(start.crops_fd)
        members = {epoch: start.load(epoch, threads=start.threads) for epoch in start.epochs}
        slowest_s = _warm(members, start)
    except InvalidModelError as error:
        connection.sendall(packed(Broken(str(error), is_model=True)))
    except Exception:  # noqa: BLE001 - the service decides what to do
        connection.sendall(packed(Broken(traceback.format_exc(), is_model=False)))
    else:
        connection.sendall(packed(Ready(slowest_s)))
        return Worker(members, crops)
    return None


def _warm(members: Mapping[int, Member], start: Start) -> float:
    """Warm up and test; return the longest that a member took for the largest batch, in seconds."""
    _limit_threads(start.threads)
    slowest_s = 0.0
    for epoch, member in members.items():
        warm_up(member, epoch, start.self_test, max_batch_size=start.max_batch_size)
        begin_s = time.perf_counter()
        member.estimate([start.self_test.crop] * start.max_batch_size, start.self_test.decode)
        slowest_s = max(slowest_s, time.perf_counter() - begin_s)
    return slowest_s


def _limit_threads(threads: int) -> None:
    """Tell PyTorch, if the members brought it, how many threads there are."""
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def _work(worker: Worker, job: Job, connection: socket.socket) -> None:
    """Ask every member named in the job; send each answer soon, and quick ones together."""
    waiting: list[Answer] = []
    sent_s = time.perf_counter()
    for epoch in job.rows:
        waiting.append(worker.answer(job, epoch))
        if time.perf_counter() - sent_s > _SEND_WITHIN_S:
            connection.sendall(packed(waiting))
            waiting = []
            sent_s = time.perf_counter()
    if waiting:
        connection.sendall(packed(waiting))


def _ask(
    member: Member, crops: Sequence[TargetCrop], decode: Decode
) -> tuple[tuple[MemberAnswer, ...], dict[str, float]]:
    batch = member.estimate(crops, decode)
    if len(batch.answers) != len(crops):
        raise RuntimeError(f"{len(batch.answers)} answers to {len(crops)} crops")
    return batch.answers, batch.stage_s


def _finite(rows: Sequence[int], answers: Sequence[MemberAnswer]) -> dict[int, MemberAnswer]:
    """Return the answers by row, without those that hold NaN or infinity."""
    return {
        row: answer
        for row, answer in zip(rows, answers, strict=True)
        if np.isfinite(answer.keypoints_mm).all() and np.isfinite(answer.confidence).all()
    }


if __name__ == "__main__":
    main()
