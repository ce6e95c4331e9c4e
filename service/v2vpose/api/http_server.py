"""The HTTP server: uvicorn on one port, without its signal handlers; its end."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from v2vpose.errors import InvalidFieldError

_BACKLOG: Final = 2048
_LAST_WORDS_S: Final = 1.0


class HttpServer:
    """REST on one port.

    Args:
        app: the ASGI application.
        host: address to listen on.
        port: 0 = any free one.
    """

    def __init__(self, app: ASGIApp, *, host: str, port: int) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._server: _Uvicorn | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listen; return the port.

        Raises:
            InvalidFieldError: the port cannot be listened on.
        """
        listener = _listen(self._host, self._port)
        self._server = _Uvicorn(
            uvicorn.Config(
                self._app,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # nobody asks who the caller is
            )
        )
        self._serving = asyncio.create_task(self._server.serve([listener]))
        await self._server.up.wait()
        port: int = listener.getsockname()[1]
        return port

    async def stop(self, *, grace_s: float) -> None:
        """Stop accepting, finish requests within the grace; hang up on those that are left."""
        if self._server is None or self._serving is None:
            return
        self._server.should_exit = True
        await asyncio.wait([self._serving], timeout=grace_s)
        self._server.force_exit = True
        state = self._server.server_state
        for connection in tuple(state.connections):
            connection.transport.abort()  # the endpoint learns of it as of a caller who left
        if state.tasks:
            await asyncio.wait(tuple(state.tasks), timeout=_LAST_WORDS_S)
        await self._serving


class _Uvicorn(uvicorn.Server):
    """Signals are the service's business; an event instead of a flag says that it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise InvalidFieldError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    listener.setblocking(False)
    return listener
