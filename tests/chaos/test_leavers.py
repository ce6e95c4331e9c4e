"""Clients that leave a batch, before it runs and while it runs: the others are answered."""

import asyncio
import uuid
from collections import Counter

import numpy as np
import pytest

from tests.chaos.clients import Client, Question, Reply, client_of
from tests.chaos.running import scaled, until

BATCH, BATCH_S = 4, 0.1

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


async def test_who_leaves_a_batch_costs_its_mates_nothing(launch):
    rng = np.random.default_rng(0)
    rounds = scaled(100, least=10)
    left, mates = dict[str, str](), dict[str, Reply]()  # by request: the way; the answer
    async with launch("--wait-s", str(BATCH_S), max_batch_size=BATCH) as service:
        clients = [client_of(i, service.http_port, service.grpc_port) for i in range(3 * BATCH)]

        def asked(client: Client) -> tuple[str, asyncio.Task[Reply]]:
            request_id = uuid.uuid4().hex
            question = Question(float(rng.uniform(-100, 100)))
            return request_id, asyncio.create_task(client.ask(question, request_id))

        for _ in range(rounds):  # a batch that runs, one that is held, one that waits
            tasks = [asked(client) for client in clients]
            await asyncio.sleep(rng.uniform(0, BATCH_S))
            for index in rng.choice(len(tasks), 3, replace=False):
                request_id, task = tasks[index]
                if task.cancel():
                    left[request_id] = clients[index].way
            ended = await asyncio.gather(*(task for _, task in tasks), return_exceptions=True)
            for (request_id, _), reply in zip(tasks, ended, strict=True):
                if request_id not in left:
                    assert isinstance(reply, Reply), reply
                    mates[request_id] = reply

        async def is_empty() -> bool:
            return bool(await service.metric("in_flight") == 0)

        await until(is_empty)
        assert await service.metric('queue_depth{model="hand"}') == 0
        batches = await service.metric("batch_size_count")
        for client in clients:
            await client.close()
        assert await service.end() == 0
    assert {reply.code for reply in mates.values()} == {"whole"}
    outcomes = service.outcomes()
    assert all(outcomes[request_id] == "ok" for request_id in mates)
    told = Counter(
        (way, outcomes.get(request_id, "never heard of")) for request_id, way in left.items()
    )
    for way, leavers in Counter(left.values()).items():
        assert told[way, "cancelled"] > leavers / 2  # some were done in the moment they left
    assert batches < 0.75 * (len(left) + len(mates))  # they did share batches
    print(f"{len(left)} left ({dict(told)}), {len(mates)} mates answered, {batches:.0f} batches")
