"""Real processes, really killed, stopped and hung."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.serving.conftest import ALL_IN_ONE, EACH_ALONE, Changes, engine_of
from tests.serving.fakes import (
    DIE,
    FAIL,
    NAN,
    SLEEP,
    STOP,
    Replies,
    crop,
    load_broken,
    load_crashing,
    load_slow,
    until,
)
from v2vpose.errors import InvalidModelError, UnavailableError
from v2vpose.serving.engines.local import LocalEngine
from v2vpose.serving.engines.messages import Ready, Start
from v2vpose.serving.engines.placement import WorkerPlan
from v2vpose.serving.engines.shared_crops import SharedCrops
from v2vpose.serving.engines.watchdog import Patience
from v2vpose.serving.engines.worker_process import WorkerProcess
from v2vpose.serving.ports import Ask, Batch, MemberState
from v2vpose.serving.self_test import SelfTest
from v2vpose.values import Decode, TargetCrop

ALL = frozenset({1, 2, 3})
IMPATIENT = Patience(late_s=0.1, late_factor=0, hung_s=0.3, hung_factor=0)
UP = dict.fromkeys(ALL, MemberState.UP)


def asked(engine: LocalEngine, *crops: TargetCrop, epochs: frozenset[int] = ALL) -> Replies:
    replies = Replies()
    asks = tuple(Ask(crop, tuple(sorted(epochs))) for crop in crops)
    engine.submit(Batch(asks, Decode.ARGMAX), 0, epochs, replies)
    return replies


def pids(engine: LocalEngine) -> list[int]:
    return [worker.pid for worker in engine.workers() if worker.pid is not None]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


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


async def test_only_the_members_asked_are_asked(start):
    engine = await start(engine_of())
    replies = asked(engine, crop(), epochs=frozenset({2}))
    await replies.all_of(2)
    assert set(replies.replies) == {2}


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


async def test_batches_out_at_the_same_time_do_not_mix(start):
    engine = await start(engine_of(ALL_IN_ONE))
    both = [asked(engine, crop(100.0)), asked(engine, crop(200.0))]
    for replies, x_mm in zip(both, (100, 200), strict=True):
        await replies.all_of(1, 2, 3)
        assert replies.replies[3].answers[0].keypoints_mm[0, 0] == x_mm + 3


@pytest.mark.parametrize("order", [FAIL, NAN])
async def test_a_crop_that_a_member_fails_on_costs_its_mates_nothing(start, order):
    engine = await start(engine_of(ALL_IN_ONE))
    replies = asked(engine, crop(1.0), crop(2.0, order), crop(3.0))
    await replies.all_of(1, 2, 3)
    for epoch in ALL:
        assert set(replies.replies[epoch].answers) == {0, 2}
        assert replies.replies[epoch].answers[2].keypoints_mm[0, 0] == 3 + epoch
    assert engine.states(0) == UP


async def test_a_worker_that_fails_again_and_again_is_started_again(start):
    engine = await start(engine_of([WorkerPlan(0, (1,))]))
    changes = Changes(engine)
    for _ in range(3):
        await asked(engine, crop(0, FAIL), epochs=frozenset({1})).all_of(1)
    await changes.until(lambda: engine.workers()[0].restarts == 1 and engine.workers()[0].up)
    replies = asked(engine, crop(), epochs=frozenset({1}))
    await replies.all_of(1)
    assert 1 in replies.replies


async def test_one_bad_crop_is_not_many_failures_in_a_row(start):
    engine = await start(engine_of(ALL_IN_ONE))
    await asked(engine, crop(0, FAIL)).all_of(1, 2, 3)
    replies = asked(engine, crop())
    await replies.all_of(1, 2, 3)
    assert set(replies.replies) == ALL
    assert engine.workers()[0].restarts == 0


async def test_a_killed_worker_is_noticed_within_100_ms_and_the_others_answer(start):
    engine = await start(engine_of())
    replies = asked(engine, crop(0, SLEEP, 0.5))
    before_s = time.monotonic()
    os.kill(pids(engine)[1], signal.SIGKILL)
    await replies.all_of(1, 2, 3)
    assert set(replies.replies) == {1, 3}
    assert replies.failed_at_s[2] - before_s < 0.1


async def test_what_a_worker_said_before_it_died_counts(start):
    engine = await start(engine_of(ALL_IN_ONE))
    replies = asked(engine, crop(0, SLEEP, 0.2))
    await replies.all_of(1)
    os.kill(pids(engine)[0], signal.SIGKILL)
    await replies.all_of(1, 2, 3)
    assert 1 in replies.replies
    assert 3 in replies.failed_at_s


async def test_a_worker_that_dies_of_a_batch_is_started_again_and_answers(start):
    engine = await start(engine_of())
    changes = Changes(engine)
    replies = asked(engine, crop(0, DIE), epochs=frozenset({2}))
    await replies.all_of(2)
    assert 2 in replies.failed_at_s
    assert engine.states(0)[2] is MemberState.DOWN
    assert [worker.up for worker in engine.workers()] == [True, False, True]
    await changes.until(lambda: engine.states(0) == UP)
    assert [worker.restarts for worker in engine.workers()] == [0, 1, 0]
    again = asked(engine, crop())
    await again.all_of(1, 2, 3)
    assert set(again.replies) == ALL


async def test_a_stopped_worker_is_late_then_killed_then_replaced(start):
    engine = await start(engine_of(patience=IMPATIENT))
    changes = Changes(engine)
    (stopped,) = {pids(engine)[1]}
    os.kill(stopped, signal.SIGSTOP)
    replies = asked(engine, crop())
    await replies.heard(lambda: replies.late_ones == {2} and len(replies.replies) == 2)
    assert engine.states(0)[2] is MemberState.LATE
    await replies.all_of(1, 2, 3)
    assert 2 in replies.failed_at_s
    await changes.until(lambda: engine.states(0) == UP)
    assert not is_alive(stopped)


async def test_a_slow_worker_that_answers_after_all_is_not_late_any_more(start):
    patience = Patience(late_s=0.05, late_factor=0, hung_s=30)
    engine = await start(engine_of([WorkerPlan(0, (1,))], patience=patience))
    replies = asked(engine, crop(0, SLEEP, 0.3), epochs=frozenset({1}))
    await replies.heard(lambda: 1 in replies.late_ones)
    await replies.all_of(1)
    assert 1 in replies.replies
    assert engine.states(0)[1] is MemberState.UP


async def test_patience_grows_with_what_the_warm_up_took(start):
    patience = Patience(late_s=0.01, late_factor=40, hung_s=0.01, hung_factor=80)
    load = partial(load_slow, 0.05)
    engine = await start(engine_of([WorkerPlan(0, (1,))], load=load, patience=patience))
    replies = asked(engine, crop(0, SLEEP, 0.1), epochs=frozenset({1}))
    await replies.all_of(1)
    assert not replies.late_ones
    assert 1 in replies.replies


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


async def test_stopping_kills_what_does_not_finish(start):
    engine = await start(engine_of([WorkerPlan(0, (1,))]))
    (pid,) = pids(engine)
    replies = asked(engine, crop(0, STOP), epochs=frozenset({1}))
    await engine.stop(grace_s=0.05)
    assert 1 in replies.failed_at_s
    assert not is_alive(pid)
    await engine.stop(grace_s=0.05)  # a second time does nothing


async def test_a_worker_that_ends_as_soon_as_it_is_ready_is_down():
    states = []
    worker = WorkerProcess("w", 0, Patience(), lambda: states.append(worker.state))
    worker._take(Ready(slowest_s=0.1))
    worker._close()
    assert states == [MemberState.UP, MemberState.DOWN]


async def test_a_worker_that_is_being_stopped_finishes_but_is_not_asked_again(start):
    engine = await start(engine_of(ALL_IN_ONE))
    replies = asked(engine, crop(0, SLEEP, 0.05))
    stopping = asyncio.create_task(engine.stop(grace_s=30))
    await replies.heard(lambda: replies.replies)
    assert set(engine.states(0).values()) == {MemberState.DOWN}
    await replies.all_of(1, 2, 3)
    await stopping
    assert set(replies.replies) == ALL


async def test_workers_leave_ctrl_c_and_sigterm_to_the_service(start):
    engine = await start(engine_of(ALL_IN_ONE))
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pids(engine)[0], number)
    replies = asked(engine, crop())
    await replies.all_of(1, 2, 3)
    assert set(replies.replies) == ALL


async def test_the_largest_crops_reach_the_members(start):
    engine = await start(engine_of(ALL_IN_ONE, max_batch_size=1))
    large = crop(7.0)
    depth_mm = np.zeros((4096, 4096), dtype=np.float32)
    wide = TargetCrop(depth_mm, large.intrinsics, large.reference_point_mm, large.side_mm)
    replies = asked(engine, wide)
    await replies.all_of(1, 2, 3)
    assert replies.replies[1].answers[0].keypoints_mm[0, 0] == 8


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
