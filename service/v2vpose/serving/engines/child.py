"""A child process and the socket to it: messages both ways, and its end."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, cast

from v2vpose.serving.engines.messages import Unpacker


class Child(asyncio.Protocol):
    """A fresh interpreter that runs a module; make one with `spawn`.

    A socket pair carries the messages. The kernel closes it with the process, so the end of the
    child is noticed at once, and after the last message it sent. All reading is asynchronous: a
    child that is stopped in the middle of a message holds nobody up.

    `ended` is its exit status, once the process has gone and its last message was handled.

    Args:
        process: the process.
        on_message: called with each message.
        on_close: called once, when no further message will come.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        on_message: Callable[[Any], None],
        on_close: Callable[[], None],
    ) -> None:
        self.pid = process.pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._process = process
        self._on_message = on_message
        self._on_close = on_close
        self._unpacker = Unpacker()
        self._transport: asyncio.WriteTransport | None = None
        self._status: int | None = None
        self._closed = False
        self._exit_fd = os.pidfd_open(process.pid)  # readable when the process has ended
        asyncio.get_running_loop().add_reader(self._exit_fd, self._reap)

    @classmethod
    async def spawn(
        cls,
        module: str,
        arguments: Sequence[str],
        *,
        pass_fds: Sequence[int],
        environment: Mapping[str, str],
        on_message: Callable[[Any], None],
        on_close: Callable[[], None],
    ) -> Self:
        """Start `python -m module FD arguments`; FD is its end of the socket.

        Call it in the thread that runs the event loop: the child may choose to die with its parent,
        and for the kernel that is the thread which made it.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            child = cls(
                _popen(module, arguments, (theirs.fileno(), *pass_fds), environment),
                on_message,
                on_close,
            )
        ours.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: child, sock=ours)
        return child

    def send(self, message: bytes) -> None:
        """Send a packed message; a child that has ended loses it."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(message)

    def finish(self) -> None:
        """Tell the child that no further message will come."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def kill(self) -> None:
        """Kill the process; `ended` follows."""
        self._process.kill()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        for message in self._unpacker.feed(data):
            self._on_message(message)

    def eof_received(self) -> None:
        """See `asyncio.Protocol`; the transport closes itself."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how does not matter
        """See `asyncio.Protocol`; a process without its socket is of no use."""
        self._on_close()
        self.kill()
        self._closed = True
        self._note_end()

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._exit_fd)
        os.close(self._exit_fd)
        self._status = self._process.wait()
        self._note_end()

    def _note_end(self) -> None:
        if self._closed and self._status is not None:
            self.ended.set_result(self._status)


def _popen(
    module: str, arguments: Sequence[str], fds: Sequence[int], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(  # noqa: S603 - our own module, no shell
        [sys.executable, "-P", "-m", module, str(fds[0]), *arguments],
        stdin=subprocess.DEVNULL,
        pass_fds=fds,
        env={**os.environ, **path, **environment},
    )
