"""Blocking work off the event loop, in a bounded number of threads behind a bounded queue."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from v2vpose.errors import OverloadedError

P = ParamSpec("P")
T = TypeVar("T")


class Offload:
    """Threads for decoding.

    Args:
        threads: how many decode at once.
        max_waiting: how many may wait for one of them; one more is refused.
    """

    def __init__(self, *, threads: int, max_waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="v2vpose-decode")
        self._capacity = threads + max_waiting
        self._pending = 0

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run in a thread and return its result.

        Raises:
            OverloadedError: too many wait already.
        """
        if self._pending >= self._capacity:
            raise OverloadedError(f"{self._pending} depth maps wait to be decoded; try again later")
        self._pending += 1
        future = self._pool.submit(work, *args, **kwargs)
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """End the threads; what waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _done(self) -> None:
        self._pending -= 1
