import asyncio
import threading

import pytest

from v2vpose.api.offload import Offload
from v2vpose.errors import OverloadedError


async def test_work_runs_in_another_thread_and_its_result_comes_back() -> None:
    offload = Offload(threads=1, max_waiting=1)
    assert await offload.run(threading.get_ident) != threading.get_ident()
    assert await offload.run(divmod, 7, 2) == (3, 1)
    offload.close()


async def test_what_the_work_raises_comes_back() -> None:
    offload = Offload(threads=1, max_waiting=1)
    with pytest.raises(ZeroDivisionError):
        await offload.run(divmod, 1, 0)
    offload.close()


async def test_one_too_many_is_refused_and_room_comes_back() -> None:
    offload = Offload(threads=1, max_waiting=1)
    go = threading.Event()
    pending = [asyncio.ensure_future(offload.run(go.wait, 10)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError, match="2 depth maps wait"):
        await offload.run(int)
    go.set()
    assert await asyncio.gather(*pending) == [True, True]
    assert await offload.run(int) == 0
    offload.close()


async def test_a_cancelled_caller_gives_its_place_back_when_the_work_ends() -> None:
    offload = Offload(threads=1, max_waiting=1)
    go = threading.Event()
    first = asyncio.ensure_future(offload.run(go.wait, 10))
    waiting = asyncio.ensure_future(offload.run(go.wait, 10))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    go.set()
    assert await first
    assert await offload.run(int) == 0
    offload.close()
