"""The bound on waiting requests: a place at once, or `OverloadedError` at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from v2vpose.errors import OverloadedError, UnavailableError


class Place:
    """A request's place, or places, among those that no worker has yet."""

    def __init__(self, on_leave: Callable[[], None]) -> None:
        self._on_leave = on_leave
        self._left = False

    def leave(self) -> None:
        """Give the place to somebody else; a second time does nothing."""
        if not self._left:
            self._left = True
            self._on_leave()


class Admission:
    """Counts the requests accepted that no worker has yet, and refuses those beyond the bound.

    Args:
        max_queue_size: how many may wait.
        on_waiting: told how many wait, whenever that changes.
    """

    def __init__(
        self, *, max_queue_size: int, on_waiting: Callable[[int], None] = lambda _: None
    ) -> None:
        self._max_queue_size = max_queue_size
        self._on_waiting = on_waiting
        self._waiting = 0
        self._open = True

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return self._waiting

    def close(self) -> None:
        """Refuse everything from now on."""
        self._open = False

    @contextmanager
    def place(self, targets: int = 1) -> Iterator[Place]:
        """Take a place for every target; given back when the block ends, if not before.

        Raises:
            UnavailableError: closed.
            OverloadedError: no place is free.
        """
        if not self._open:
            raise UnavailableError("the service is draining; try another one")
        if self._waiting + min(targets, self._max_queue_size) > self._max_queue_size:
            raise OverloadedError(f"{self._waiting} requests are waiting already; try again later")
        self._change(targets)
        place = Place(lambda: self._change(-targets))
        try:
            yield place
        finally:
            place.leave()

    def _change(self, step: int) -> None:
        self._waiting += step
        self._on_waiting(self._waiting)
