"""Real processes, really killed, stopped and hung."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from tests.serving.conftest import ALL_IN_ONE, EACH_ALONE, engine_of
from tests.serving.engines import ALL, UP, asked, is_alive, pids
from tests.serving.fakes import (
    SLEEP,
    crop,
    load_broken,
    load_crashing,
    load_slow,
    until,
)
from v2vpose.errors import InvalidModelError, UnavailableError
from v2vpose.serving.engines.messages import Ready, Start
from v2vpose.serving.engines.placement import WorkerPlan
from v2vpose.serving.engines.shared_crops import SharedCrops
from v2vpose.serving.engines.watchdog import Patience
from v2vpose.serving.engines.worker_process import WorkerProcess
from v2vpose.serving.ports import MemberState
from v2vpose.serving.self_test import SelfTest


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


@pytest.mark.parametrize("plans", [EACH_ALONE, ALL_IN_ONE])
async def test_every_member_answers_for_every_crop_in_order(start, plans):
    engine = await start(engine_of(plans))
    assert engine.states(0) == UP
    replies = asked(engine, crop(10.0), crop(20.0))
    await replies.all_of(1, 2, 3)
    for epoch in ALL:
        answers = replies.replies[epoch].answers
        assert [answers[row].keypoints_mm[0, 0] for row in (0, 1)] == [10 + epoch, 20 + epoch]
        assert replies.replies[epoch].stage_s == {"forward": pytest.approx(0.001 * epoch)}
    assert len({reply.worker for reply in replies.replies.values()}) == len(plans)


async def test_a_member_with_two_holders_goes_where_there_is_least_to_do(start):
    engine = await start(engine_of([WorkerPlan(0, (1, 3)), WorkerPlan(0, (2, 3))]))
    busy = asked(engine, crop(0, SLEEP, 0.2), epochs=frozenset({1}))
    replies = asked(engine, crop(0, SLEEP, 0.2))
    also = asked(engine, crop())
    for each in (busy, replies, also):
        await each.all_of(*({1} if each is busy else ALL))
    assert {epoch: reply.worker for epoch, reply in replies.replies.items()} == {1: 0, 2: 1, 3: 1}
    assert also.replies[3].worker == 0


@pytest.mark.parametrize("victim", [0, 1])
async def test_a_member_with_two_holders_outlives_one_of_them(start, victim):
    engine = await start(engine_of([WorkerPlan(0, (1, 3)), WorkerPlan(0, (2, 3))]))
    other = 1 - victim
    os.kill(pids(engine)[victim], signal.SIGKILL)
    await until(lambda: engine.states(0)[1 + victim] is MemberState.DOWN)
    assert engine.states(0)[3] is MemberState.UP
    replies = asked(engine, crop(), epochs=frozenset({1 + other, 3}))
    await replies.all_of(1 + other, 3)
    assert {reply.worker for reply in replies.replies.values()} == {other}


async def test_what_a_worker_said_before_it_died_counts(start):
    engine = await start(engine_of(ALL_IN_ONE))
    replies = asked(engine, crop(0, SLEEP, 0.2))
    await replies.all_of(1)
    os.kill(pids(engine)[0], signal.SIGKILL)
    await replies.all_of(1, 2, 3)
    assert 1 in replies.replies
    assert 3 in replies.failed_at_s


async def test_a_broken_model_is_refused_and_nothing_is_left():
    before = descriptors()
    engine = engine_of(load=load_broken)
    with pytest.raises(InvalidModelError, match="is broken"):
        await engine.start()
    assert not any(is_alive(pid) for pid in pids(engine))
    assert descriptors() == before


async def test_a_worker_that_dies_while_starting_is_unavailable_and_nothing_is_left():
    before = descriptors()
    engine = engine_of(load=load_crashing)
    with pytest.raises(UnavailableError, match=r"ended while starting \(status -9\)"):
        await engine.start()
    assert not any(is_alive(pid) for pid in pids(engine))
    assert descriptors() == before


async def test_a_worker_that_takes_too_long_to_start_is_unavailable():
    engine = engine_of(load=partial(load_slow, 60.0), patience=Patience(start_s=0.05))
    with pytest.raises(UnavailableError, match=r"0\.05 s"):
        await engine.start()
    assert not any(is_alive(pid) for pid in pids(engine))


async def test_a_process_that_does_not_come_up_ends_so_that_another_can_be_started():
    crops = SharedCrops(regions=1, region_px=1)
    message = Start(partial(load_slow, 60.0), (1,), 1, crops.fd, 1, SelfTest(crop()))
    worker = WorkerProcess("w", 0, Patience(start_s=0.05), lambda: None)
    with pytest.raises(UnavailableError):
        await worker.start(message, {})
    assert await asyncio.wait_for(worker.ended(), 30) == -signal.SIGKILL
    crops.close()


async def test_a_start_that_is_cancelled_leaves_nothing():
    engine = engine_of(load=partial(load_slow, 60.0))
    starting = asyncio.create_task(engine.start())
    await until(lambda: len(pids(engine)) == 3)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not any(is_alive(pid) for pid in pids(engine))


async def test_stopping_lets_workers_finish_and_leaves_nothing(start):
    before = descriptors()
    engine = await start(engine_of())
    started = pids(engine)
    replies = asked(engine, crop(5.0, SLEEP, 0.1))
    await engine.stop(grace_s=30)
    assert set(replies.replies) == ALL
    assert not any(is_alive(pid) for pid in started)
    assert descriptors() == before


async def test_a_worker_that_ends_as_soon_as_it_is_ready_is_down():
    states = []
    worker = WorkerProcess("w", 0, Patience(), lambda: states.append(worker.state))
    worker._take(Ready(slowest_s=0.1))
    worker._close()
    assert states == [MemberState.UP, MemberState.DOWN]


async def test_workers_leave_ctrl_c_and_sigterm_to_the_service(start):
    engine = await start(engine_of(ALL_IN_ONE))
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pids(engine)[0], number)
    replies = asked(engine, crop())
    await replies.all_of(1, 2, 3)
    assert set(replies.replies) == ALL


async def test_when_late_workers_hold_all_crops_new_batches_fail_at_once(start):
    patience = Patience(late_s=0.01, late_factor=0, hung_s=60)
    engine = await start(engine_of([WorkerPlan(0, (1,))], patience=patience))
    os.kill(pids(engine)[0], signal.SIGSTOP)
    only = frozenset({1})
    held = [asked(engine, crop(), epochs=only) for _ in range(4)]
    refused = asked(engine, crop(), epochs=only)
    await refused.all_of(1)
    assert 1 in refused.failed_at_s
    os.kill(pids(engine)[0], signal.SIGCONT)
    for replies in held:
        await replies.all_of(1)
        assert 1 in replies.replies
    again = asked(engine, crop(), epochs=only)
    await again.all_of(1)
    assert 1 in again.replies


ORPHANS = """
import asyncio, os, signal
from tests.serving.conftest import EACH_ALONE, engine_of

async def main():
    engine = engine_of(EACH_ALONE)
    await engine.start()
    pids = [worker.pid for worker in engine.workers()]
    os.kill(pids[0], signal.SIGSTOP)
    print(*pids, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_workers_die_with_the_service_even_when_stopped():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    service = subprocess.run(
        [sys.executable, "-c", ORPHANS],
        capture_output=True,
        check=False,
        env=environment,
        timeout=60,
    )
    orphans = [int(pid) for pid in service.stdout.split()]
    assert len(orphans) == 3, service.stderr
    end_s = time.monotonic() + 30
    while any(map(is_alive, orphans)):
        assert time.monotonic() < end_s, "orphans are left"
