"""Versions exchanged under load, with real nets."""

import asyncio
from collections import Counter

import pytest

from tests.serving.test_pipeline import at, frame
from v2vpose.errors import InvalidModelError
from v2vpose.model_store import ModelVersion
from v2vpose.serving.engines.local import local_engine
from v2vpose.serving.ports import Engine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def torch_engine(version: ModelVersion) -> Engine:
    return local_engine(version, backend="torch", max_batch_size=4)


async def test_reloads_under_load_fail_no_request(serve):
    bench = await serve(engine=torch_engine)
    answered: Counter[str] = Counter()
    stop = asyncio.Event()

    async def client() -> None:
        while not stop.is_set():
            estimate = await bench.pipeline.estimate(frame(), at())
            answered[estimate.version] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(client())
        for version in ("2", "1", "2"):
            assert (await bench.pipeline.reload("hand", version)).version == version
            with pytest.raises(InvalidModelError):
                await bench.pipeline.reload("hand", "3")
        stop.set()
    assert set(answered) == {"1", "2"}
    print(dict(answered))
