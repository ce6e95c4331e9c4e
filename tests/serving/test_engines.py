"""The rules of every engine, on each: real processes, really killed, stopped and hung.

The local engine always; Ray's with `-m slow`, if Ray is installed, on two nodes of this machine.
"""

import asyncio
import os
import signal
import time
import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from tests.serving.conftest import Changes, engine_of
from tests.serving.engines import ALL, IMPATIENT, UP, asked, is_alive, pids
from tests.serving.fakes import DIE, FAIL, NAN, SLEEP, STOP, crop, load_slow, until
from tests.serving.ray_engines import ray_engine_of
from v2vpose.serving.engines.placement import WorkerPlan
from v2vpose.serving.engines.watchdog import Patience
from v2vpose.serving.ports import Engine, MemberState
from v2vpose.values import TargetCrop


class Local:
    """Makes engines of worker processes, one for each member."""

    notice_s = 0.1

    def __call__(self, epochs: Sequence[int] = (1, 2, 3), **chosen: Any) -> Engine:
        return engine_of([WorkerPlan(0, (epoch,)) for epoch in epochs], **chosen)


class OnRay:
    """Makes engines of Ray actors."""

    notice_s = 3.0  # Ray learns of a death through its head

    def __init__(self, address: str) -> None:
        self._address = address

    def __call__(self, epochs: Sequence[int] = (1, 2, 3), **chosen: Any) -> Engine:
        return ray_engine_of(self._address, f"fake/{uuid.uuid4().hex}", epochs, **chosen)


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.slow)])
def make(request: pytest.FixtureRequest) -> Local | OnRay:
    if request.param == "local":
        return Local()
    return OnRay(request.getfixturevalue("ray_address"))


async def test_every_member_answers_for_every_crop(start, make):
    engine = await start(make())
    assert engine.states(0) == UP
    replies = asked(engine, crop(10.0), crop(20.0))
    await replies.all_of(1, 2, 3)
    for epoch in ALL:
        answers = replies.replies[epoch].answers
        assert [answers[row].keypoints_mm[0, 0] for row in (0, 1)] == [10 + epoch, 20 + epoch]
        assert replies.replies[epoch].stage_s == {"forward": pytest.approx(0.001 * epoch)}
    assert len({reply.worker for reply in replies.replies.values()}) == 3


async def test_stopping_lets_workers_finish(start, make):
    engine = await start(make())
    started = pids(engine)
    replies = asked(engine, crop(5.0, SLEEP, 0.1))
    await engine.stop(grace_s=30)
    assert set(replies.replies) == ALL
    await until(lambda: not any(is_alive(pid) for pid in started))


async def test_only_the_members_asked_are_asked(start, make):
    engine = await start(make())
    replies = asked(engine, crop(), epochs=frozenset({2}))
    await replies.all_of(2)
    assert set(replies.replies) == {2}


async def test_batches_out_at_the_same_time_do_not_mix(start, make):
    engine = await start(make())
    both = [asked(engine, crop(100.0)), asked(engine, crop(200.0))]
    for replies, x_mm in zip(both, (100, 200), strict=True):
        await replies.all_of(1, 2, 3)
        assert replies.replies[3].answers[0].keypoints_mm[0, 0] == x_mm + 3


@pytest.mark.parametrize("order", [FAIL, NAN])
async def test_a_crop_that_a_member_fails_on_costs_its_mates_nothing(start, make, order):
    engine = await start(make())
    replies = asked(engine, crop(1.0), crop(2.0, order), crop(3.0))
    await replies.all_of(1, 2, 3)
    for epoch in ALL:
        assert set(replies.replies[epoch].answers) == {0, 2}
        assert replies.replies[epoch].answers[2].keypoints_mm[0, 0] == 3 + epoch
    assert engine.states(0) == UP


async def test_a_worker_that_fails_again_and_again_is_started_again(start, make):
    engine = await start(make((1,)))
    changes = Changes(engine)
    for _ in range(3):
        await asked(engine, crop(0, FAIL), epochs=frozenset({1})).all_of(1)
    await changes.until(lambda: engine.workers()[0].restarts == 1 and engine.workers()[0].up)
    replies = asked(engine, crop(), epochs=frozenset({1}))
    await replies.all_of(1)
    assert 1 in replies.replies


async def test_one_bad_crop_is_not_many_failures_in_a_row(start, make):
    engine = await start(make())
    await asked(engine, crop(0, FAIL)).all_of(1, 2, 3)
    replies = asked(engine, crop())
    await replies.all_of(1, 2, 3)
    assert set(replies.replies) == ALL
    assert engine.workers()[0].restarts == 0


async def test_a_killed_worker_is_noticed_and_the_others_answer(start, make):
    engine = await start(make())
    replies = asked(engine, crop(0, SLEEP, 0.5))
    before_s = time.monotonic()
    os.kill(pids(engine)[1], signal.SIGKILL)
    await replies.all_of(1, 2, 3)
    assert set(replies.replies) == {1, 3}
    assert replies.failed_at_s[2] - before_s < make.notice_s


async def test_a_worker_that_dies_of_a_batch_is_started_again_and_answers(start, make):
    engine = await start(make())
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


async def test_a_stopped_worker_is_late_then_killed_then_replaced(start, make):
    engine = await start(make(patience=IMPATIENT))
    changes = Changes(engine)
    (stopped,) = {pids(engine)[1]}
    os.kill(stopped, signal.SIGSTOP)
    replies = asked(engine, crop())
    await replies.heard(lambda: replies.late_ones == {2} and len(replies.replies) == 2)
    assert engine.states(0)[2] is MemberState.LATE
    await replies.all_of(1, 2, 3)
    assert 2 in replies.failed_at_s
    await changes.until(lambda: engine.states(0) == UP)
    await until(lambda: not is_alive(stopped))


async def test_a_slow_worker_that_answers_after_all_is_not_late_any_more(start, make):
    patience = Patience(late_s=0.05, late_factor=0, hung_s=30)
    engine = await start(make((1,), patience=patience))
    replies = asked(engine, crop(0, SLEEP, 0.3), epochs=frozenset({1}))
    await replies.heard(lambda: 1 in replies.late_ones)
    await replies.all_of(1)
    assert 1 in replies.replies
    assert engine.states(0)[1] is MemberState.UP


async def test_patience_grows_with_what_the_warm_up_took(start, make):
    patience = Patience(late_s=0.01, late_factor=40, hung_s=0.01, hung_factor=80)
    load = partial(load_slow, 0.05)
    engine = await start(make((1,), load=load, patience=patience))
    replies = asked(engine, crop(0, SLEEP, 0.1), epochs=frozenset({1}))
    await replies.all_of(1)
    assert not replies.late_ones
    assert 1 in replies.replies


async def test_stopping_kills_what_does_not_finish(start, make):
    engine = await start(make((1,)))
    (pid,) = pids(engine)
    replies = asked(engine, crop(0, STOP), epochs=frozenset({1}))
    await engine.stop(grace_s=0.05)
    assert 1 in replies.failed_at_s
    await until(lambda: not is_alive(pid))
    await engine.stop(grace_s=0.05)  # a second time does nothing


async def test_a_worker_that_is_being_stopped_finishes_but_is_not_asked_again(start, make):
    engine = await start(make())
    replies = asked(engine, crop(0, SLEEP, 0.05))
    stopping = asyncio.create_task(engine.stop(grace_s=30))
    await replies.heard(lambda: replies.replies)
    assert set(engine.states(0).values()) == {MemberState.DOWN}
    await replies.all_of(1, 2, 3)
    await stopping
    assert set(replies.replies) == ALL


async def test_the_largest_crops_reach_the_members(start, make):
    engine = await start(make(max_batch_size=1))
    large = crop(7.0)
    depth_mm = np.zeros((4096, 4096), dtype=np.float32)
    wide = TargetCrop(depth_mm, large.intrinsics, large.reference_point_mm, large.side_mm)
    replies = asked(engine, wide)
    await replies.all_of(1, 2, 3)
    assert replies.replies[1].answers[0].keypoints_mm[0, 0] == 8
