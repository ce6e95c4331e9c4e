"""Clients that ask at once, one request after the other, and keep account of every one."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np

from tests.chaos.clients import CLOSED, Client, Question, Reply, client_of
from tests.chaos.running import Running

ANSWERED = {"whole", "degraded"}
PATIENCE_S = 60.0  # then a request counts as lost
PAUSE_S = 0.02  # of a client that was told to come again


class Crowd:
    """Half of the clients ask over REST, the others over gRPC.

    Args:
        service: whom they ask.
        clients: how many they are.
        question: what is asked at a place.
        leaves: whether a client that was turned away is gone.
    """

    def __init__(
        self,
        service: Running,
        clients: int,
        question: Callable[[float], Question] = Question,
        *,
        leaves: bool = False,
    ) -> None:
        self._service = service
        self._clients = clients
        self._question = question
        self._leaves = leaves
        self.stop = asyncio.Event()
        self.sent = 0
        self.codes: Counter[str] = Counter()
        self.replies: dict[str, Reply] = {}
        self.took_s: dict[tuple[str, str], list[float]] = {}

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Ask until the end of the block."""
        async with asyncio.TaskGroup() as group:
            for seed in range(self._clients):
                group.create_task(self._ask_on(seed))
            yield
            self.stop.set()

    async def answered(self, more: int) -> None:
        """Wait until so many more requests were answered."""
        begin = sum(self.codes[code] for code in ANSWERED)
        async with asyncio.timeout(PATIENCE_S):
            while sum(self.codes[code] for code in ANSWERED) < begin + more:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    def check(self) -> None:
        """Every request has one outcome, the one that the service gave it; call after its end."""
        assert len(self.replies) == self.sent
        outcomes = self._service.outcomes()
        for request_id, reply in self.replies.items():
            told = outcomes.get(request_id)
            if reply.code == CLOSED:
                assert told in {None, "cancelled", "unavailable"}, f"{request_id}: {told}, lost"
            else:
                assert told == ("ok" if reply.code in ANSWERED else reply.code)

    async def _ask_on(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        client = client_of(seed, self._service.http_port, self._service.grpc_port)
        while not self.stop.is_set():
            reply = await self._ask(client, self._question(float(rng.uniform(-100, 100))))
            if reply.code not in ANSWERED:
                if self._leaves:
                    break
                await asyncio.sleep(PAUSE_S)
        await client.close()

    async def _ask(self, client: Client, question: Question) -> Reply:
        self.sent += 1
        request_id = uuid.uuid4().hex
        begin_s = time.perf_counter()
        async with asyncio.timeout(PATIENCE_S):
            reply = await client.ask(question, request_id)
        self.took_s.setdefault((client.way, reply.code), []).append(time.perf_counter() - begin_s)
        self.codes[reply.code] += 1
        self.replies[request_id] = reply
        return reply

    def quantile_ms(self, q: float, *codes: str) -> float:
        took_s = [s for (_, code), some in self.took_s.items() if code in codes for s in some]
        return float(1e3 * np.quantile(took_s, q))
