"""Queueing formulas that the simulation must agree with; rates a second, times in seconds."""

import math


def mm1_response_s(*, rate: float, served_rate: float) -> float:
    """Mean time in an M/M/1 queue and its server."""
    return 1 / (served_rate - rate)


def md1_response_s(*, rate: float, service_s: float) -> float:
    """Mean time in an M/D/1 queue and its server (Pollaczek and Khinchine)."""
    busy = rate * service_s
    return service_s + busy * service_s / (2 * (1 - busy))


def erlang_c(*, servers: int, offered: float) -> float:
    """Probability that a request of an M/M/c queue waits; `offered` = rate x mean service."""
    waiting = offered**servers / math.factorial(servers) * servers / (servers - offered)
    none_waits = sum(offered**k / math.factorial(k) for k in range(servers))
    return waiting / (none_waits + waiting)


def mmc_response_s(*, rate: float, served_rate: float, servers: int) -> float:
    """Mean time in an M/M/c queue and its servers."""
    waits = erlang_c(servers=servers, offered=rate / served_rate)
    return 1 / served_rate + waits / (servers * served_rate - rate)


def harmonic(n: int) -> float:
    """1 + 1/2 + ... + 1/n: the mean of the largest of n exponentials of mean 1."""
    return sum(1 / k for k in range(1, n + 1))


def fork_join_two_s(*, rate: float, served_rate: float) -> float:
    """Mean time until both of two M/M/1 queues have done their part (Flatto and Hahn; exact)."""
    busy = rate / served_rate
    return (12 - busy) / 8 * mm1_response_s(rate=rate, served_rate=served_rate)


def fork_join_bounds_s(n: int, *, rate: float, served_rate: float) -> tuple[float, float]:
    """Bounds of the mean for n queues: without queueing, and as if they were independent."""
    return (
        harmonic(n) / served_rate,
        harmonic(n) * mm1_response_s(rate=rate, served_rate=served_rate),
    )


def fork_join_s(n: int, *, rate: float, served_rate: float) -> float:
    """Mean for n queues, approximate (Nelson and Tantawi 1988: within 5 % up to n = 32)."""
    ratio = harmonic(n) / harmonic(2)
    share = 4 * (rate / served_rate) / 11
    return (ratio + (1 - ratio) * share) * fork_join_two_s(rate=rate, served_rate=served_rate)
