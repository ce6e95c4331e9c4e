"""The bound on the bytes that all requests together hold: bodies, messages, frames of streams.

The limits on one body and on what waits do not bound the memory: a thousand callers with large
bodies are read at once. One thread counts: the event loop's.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from v2vpose.errors import OverloadedError


class InflightBytes:
    """Counts the bytes that requests hold, from their arrival to their answer.

    Args:
        max_bytes: how many may be held.
    """

    __slots__ = ("_max_bytes", "held")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.held = 0

    def check(self, size: int) -> None:
        """Check whether so many bytes more would be taken now; nothing is held for them.

        Raises:
            OverloadedError: no.
        """
        if self.held + size > self._max_bytes:
            raise OverloadedError(
                f"requests hold {self.held} of at most {self._max_bytes} bytes, "
                f"{size} more do not fit; try again later"
            )

    def take(self, size: int) -> None:
        """Hold so many bytes more; who takes gives back.

        Raises:
            OverloadedError: they do not fit.
        """
        self.check(size)
        self.held += size

    def give(self, size: int) -> None:
        """Give bytes back."""
        self.held -= size

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Hold bytes inside the block.

        Raises:
            OverloadedError: they do not fit.
        """
        self.take(size)
        try:
            yield
        finally:
            self.give(size)
