"""How long a worker may be silent while it has work; one rule for all engines."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a worker may be silent while it has work.

    The limits for late and hung are the larger of a fixed time and a multiple of the longest that a
    member took for the largest batch during warm-up.

    Attributes:
        start_s: for loading, warm-up and self-test.
        late_s: then nobody waits for it whose other members make a quorum.
        late_factor: the multiple for late.
        hung_s: then it is killed.
        hung_factor: the multiple for hung.
    """

    start_s: float = 300.0
    late_s: float = 1.0
    late_factor: float = 4.0
    hung_s: float = 10.0
    hung_factor: float = 20.0


class Watchdog:
    """Barks when a worker is late, and again when it is hung.

    Args:
        patience: how long it may be silent.
        on_late: called when it is late.
        on_hung: called when it is hung, after `on_late`.
    """

    def __init__(
        self, patience: Patience, *, on_late: Callable[[], None], on_hung: Callable[[], None]
    ) -> None:
        self._patience = patience
        self._on_late = on_late
        self._on_hung = on_hung
        self._timer: asyncio.TimerHandle | None = None
        self.late_s = patience.late_s
        self.hung_s = patience.hung_s

    def learn(self, slowest_s: float) -> None:
        """Learn what the warm-up took: the longest that a member needed for the largest batch."""
        self.late_s = max(self._patience.late_s, self._patience.late_factor * slowest_s)
        self.hung_s = max(self._patience.hung_s, self._patience.hung_factor * slowest_s)

    def begin(self) -> None:
        """Wait for a sign of life, unless that is being done."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.late_s, self._be_late)

    def heard(self, *, has_work: bool) -> None:
        """Begin anew after a sign of life; without work there is nothing to wait for."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if has_work:
            self.begin()

    def _be_late(self) -> None:
        wait_s = max(self.hung_s - self.late_s, 0)
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._on_hung)
        self._on_late()
