"""A worker process, `python -m v2vpose.serving.engines.worker FD NAME`: holds members, answers.

It ends when the service closes the socket (end of file), and is killed when the service dies.
Signals meant for the whole process group (Ctrl-C, a service manager's SIGTERM) are the service's
business: it drains first.
"""

import ctypes
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from v2vpose.errors import InvalidModelError
from v2vpose.serving.engines.asking import answer, in_groups, warmed
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

_PR_SET_PDEATHSIG: Final = 1


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
        """Ask one member; see `asking.answer`."""
        crops = {row: self._crops.crop(job.crops[row]) for row in job.rows[epoch]}
        return answer(self._members[epoch], crops, job.decode, number=job.number, epoch=epoch)


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
        slowest_s = warmed(
            members,
            start.self_test,
            threads=start.threads,
            max_batch_size=start.max_batch_size,
        )
    except InvalidModelError as error:
        connection.sendall(packed(Broken(str(error), is_model=True)))
    except Exception:  # noqa: BLE001 - the service decides what to do
        connection.sendall(packed(Broken(traceback.format_exc(), is_model=False)))
    else:
        connection.sendall(packed(Ready(slowest_s)))
        return Worker(members, crops)
    return None


def _work(worker: Worker, job: Job, connection: socket.socket) -> None:
    """Ask every member named in the job; send each answer soon, and quick ones together."""
    for group in in_groups(worker.answer(job, epoch) for epoch in job.rows):
        connection.sendall(packed(group))


if __name__ == "__main__":
    main()
