"""A discrete-event simulation of the serving engine: front end, scheduler, members, answers.

It follows `serving/scheduler.py`: a batch closes when it is full, or `max_delay_s` after its oldest
request came, or at once if a replica is idle; a replica holds so many batches; an answer needs all
members. Times are seconds.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Service: TypeAlias = Callable[[np.random.Generator, int], float]
"""How long a member works on a batch of so many crops."""


def constant(fixed_s: float, per_crop_s: float = 0.0) -> Service:
    return lambda _, crops: fixed_s + per_crop_s * crops


def exponential(mean_s: float) -> Service:
    return lambda rng, _: float(rng.exponential(mean_s))


def jittered(fixed_s: float, per_crop_s: float, sigma: float) -> Service:
    """Log-normal around a line; the mean stays on the line."""
    shift = -(sigma**2) / 2
    return lambda rng, crops: (
        (fixed_s + per_crop_s * crops) * float(rng.lognormal(shift, sigma) if sigma else 1.0)
    )


@dataclass(frozen=True)
class Site:
    """What serves.

    Attributes:
        placement: worker of each member, by replica; members of one worker work in turn.
        service: of a member for a batch.
        max_batch: crops in a batch.
        max_delay_s: longest wait for batch-mates.
        held: batches that a replica holds.
        hop_s: from the scheduler to a worker; the same back.
        front_s: CPU time of the front end for a request; it has one core.
    """

    placement: tuple[tuple[int, ...], ...]
    service: Service
    max_batch: int = 1
    max_delay_s: float = 0.0
    held: int = 2
    hop_s: float = 0.0
    front_s: float = 0.0


@dataclass
class _Batch:
    replica: int
    requests: list[int]
    missing: int


@dataclass(frozen=True)
class Outcome:
    """What happened after the warm-up.

    Attributes:
        latency_s: of each request answered.
        throughput: requests answered a second.
        batch_size: mean.
        busy: part of the time that each worker worked.
    """

    latency_s: NDArray[np.float64]
    throughput: float
    batch_size: float
    busy: dict[int, float] = field(default_factory=dict)

    def quantile_s(self, q: float) -> float:
        """Return the latency that this part of the requests did not exceed."""
        return float(np.quantile(self.latency_s, q))


class Simulation:
    """One run; deterministic for a seed.

    Args:
        site: what serves.
        seed: of all random numbers.
    """

    def __init__(self, site: Site, seed: int) -> None:
        self._site = site
        self._rng = np.random.default_rng(seed)
        self._now_s = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._arrived_s: dict[int, float] = {}
        self._names = count()
        self._front_free_s = 0.0
        self._queue: deque[tuple[int, float]] = deque()  # request, and when it was queued
        self._batches = [0] * len(site.placement)
        self._free_s: dict[int, float] = {}
        self._worked_s: dict[int, float] = {}
        self._sizes: list[int] = []
        self._done: list[tuple[float, float]] = []  # answered at, latency
        self._again: Callable[[], None] = lambda: None
        self._timer_s = np.inf

    def open_loop(self, rate: float, requests: int) -> Outcome:
        """Requests come at random (Poisson), as from many cameras that know nothing of each other.

        The first tenth is warm-up.
        """
        at_s = np.cumsum(self._rng.exponential(1 / rate, requests))
        for each_s in at_s:
            self._at(float(each_s), self._arrive)
        self._run()
        return self._outcome(float(at_s[requests // 10]))

    def closed_loop(self, clients: int, requests: int) -> Outcome:
        """So many clients, each with one request out at a time."""
        left = requests - clients

        def again() -> None:
            nonlocal left
            if left > 0:
                left -= 1
                self._arrive()

        self._again = again
        for _ in range(clients):
            self._at(0.0, self._arrive)
        self._run()
        end_s = self._done[-clients][0]  # the tail has fewer clients
        self._done = [done for done in self._done if done[0] <= end_s]
        return self._outcome(self._done[len(self._done) // 10][0])

    def _run(self) -> None:
        while self._events:
            self._now_s, _, happen = heapq.heappop(self._events)
            happen()

    def _at(self, when_s: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when_s, next(self._order), happen))

    def _arrive(self) -> None:
        request = next(self._names)
        self._arrived_s[request] = self._now_s
        self._front_free_s = max(self._front_free_s, self._now_s) + self._site.front_s
        self._at(self._front_free_s, lambda: self._enqueue(request))

    def _enqueue(self, request: int) -> None:
        self._queue.append((request, self._now_s))
        self._dispatch()

    def _dispatch(self) -> None:
        site = self._site
        while self._queue:
            replica = min(range(len(self._batches)), key=self._batches.__getitem__)
            if self._batches[replica] >= site.held:
                return
            size = min(len(self._queue), site.max_batch)
            if self._batches[replica] > 0 and size < site.max_batch:
                close_s = self._queue[0][1] + site.max_delay_s
                if close_s > self._now_s:
                    if close_s != self._timer_s:
                        self._timer_s = close_s
                        self._at(close_s, self._dispatch)
                    return
            self._submit(_Batch(replica, [self._queue.popleft()[0] for _ in range(size)], 0))

    def _submit(self, batch: _Batch) -> None:
        workers = self._site.placement[batch.replica]
        batch.missing = len(workers)
        self._batches[batch.replica] += 1
        self._sizes.append(len(batch.requests))
        for worker in workers:
            self._at(self._now_s + self._site.hop_s, partial(self._work, batch, worker))

    def _work(self, batch: _Batch, worker: int) -> None:
        works_s = self._site.service(self._rng, len(batch.requests))
        self._worked_s[worker] = self._worked_s.get(worker, 0.0) + works_s
        self._free_s[worker] = max(self._free_s.get(worker, 0.0), self._now_s) + works_s
        self._at(self._free_s[worker] + self._site.hop_s, lambda: self._reply(batch))

    def _reply(self, batch: _Batch) -> None:
        batch.missing -= 1
        if batch.missing:
            return
        self._batches[batch.replica] -= 1
        for request in batch.requests:
            self._done.append((self._now_s, self._now_s - self._arrived_s.pop(request)))
            self._again()
        self._dispatch()

    def _outcome(self, since_s: float) -> Outcome:
        kept = np.array([done for done in self._done if done[0] >= since_s])
        span_s = float(kept[-1, 0]) - since_s
        return Outcome(
            latency_s=kept[:, 1],
            throughput=(len(kept) - 1) / span_s,
            batch_size=float(np.mean(self._sizes)),
            busy={worker: s / self._now_s for worker, s in self._worked_s.items()},
        )
