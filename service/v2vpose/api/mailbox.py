"""The frames of one stream that wait: the newest only, or every one with the sender waiting."""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Room for one item, between one sender and one receiver.

    Args:
        keeps_every: whether a sender waits for room; else a newer item replaces the waiting one.
    """

    def __init__(self, *, keeps_every: bool) -> None:
        self.dropped = 0
        self._keeps_every = keeps_every
        self._items: list[T] = []
        self._closed = False
        self._failure: BaseException | None = None
        self._changed = asyncio.Condition()

    async def put(self, item: T) -> T | None:
        """Put an item in.

        Returns:
            What is left out for it: the item it replaces, or itself once the mailbox is closed.
        """
        async with self._changed:
            if self._keeps_every:
                await self._changed.wait_for(lambda: not self._items or self._closed)
            if self._closed:
                return item
            replaced = self._items.pop() if self._items else None
            self.dropped += replaced is not None
            self._items = [item]
            self._changed.notify_all()
            return replaced

    async def get(self) -> T | None:
        """Take the waiting item, waiting for one; None after the last.

        Raises:
            BaseException: what the sender closed the mailbox with, after the last item.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._items) or self._closed)
            if self._items:
                self._changed.notify_all()
                return self._items.pop()
            if self._failure is not None:
                raise self._failure
            return None

    async def close(self, failure: BaseException | None = None) -> None:
        """Let nothing more in; what waits can still be taken."""
        async with self._changed:
            self._closed = True
            self._failure = failure
            self._changed.notify_all()
