"""The far side of a Ray engine, without Ray: it is a class like any other."""

import asyncio
import os
import pickle
import threading
import time
from functools import partial

import pytest

from tests.serving.fakes import FAIL, SLEEP, crop, load_broken, load_fake, load_slow
from v2vpose.serving.engines import ray_actor
from v2vpose.serving.engines.messages import Answer, Broken, Job, Ready
from v2vpose.serving.engines.ray_actor import (
    ActorRecipe,
    WorkerActor,
    this_machine,
)
from v2vpose.serving.engines.shared_crops import depth_of
from v2vpose.serving.ports import LoadMember, Member
from v2vpose.serving.self_test import SelfTest
from v2vpose.values import Decode, TargetCrop


def actor_of(
    load: LoadMember = load_fake, *, epochs: tuple[int, ...] = (2,), orphan_s: float = 60.0
) -> WorkerActor:
    recipe = ActorRecipe(load, epochs, 1, 4, SelfTest(crop()), orphan_s=orphan_s)
    return WorkerActor(recipe, lambda: None)


def job(
    *crops: TargetCrop, rows: dict[int, tuple[int, ...]], decode: Decode = Decode.ARGMAX
) -> tuple[bytes, bytes]:
    depth, refs = depth_of(crops)
    return pickle.dumps(Job(7, refs, decode, rows).plain()), depth


def read(reply: bytes) -> list[Answer]:
    answers: list[Answer] = pickle.loads(reply)  # noqa: S301 - our own actor
    return answers


async def test_an_actor_says_that_it_is_ready_and_where_it_is():
    hello = await actor_of().join("a")
    assert isinstance(hello.told, Ready)
    assert (hello.pid, hello.machine) == (os.getpid(), this_machine())


async def test_an_actor_answers_the_rows_it_is_asked_about():
    actor = actor_of()
    await actor.join("a")
    asked = job(crop(10.0), crop(20.0), crop(30.0, FAIL), rows={2: (1, 2)})
    (answer,) = read(await actor.answer("a", *asked))
    assert (answer.number, answer.epoch, answer.rows) == (7, 2, (1,))
    assert answer.answers()[1].keypoints_mm[0, 0] == 22
    assert answer.error is not None
    assert "ordered to fail" in answer.error


async def test_the_answers_of_quick_members_are_one_reply():
    actor = actor_of(epochs=(1, 2, 3))
    await actor.join("a")
    answers = read(await actor.answer("a", *job(crop(10.0), rows={3: (0,), 1: (0,)})))
    assert [answer.epoch for answer in answers] == [3, 1]
    assert [answer.answers()[0].keypoints_mm[0, 0] for answer in answers] == [13, 11]


async def test_a_slow_member_does_not_hold_back_the_answers_of_others():
    actor = actor_of(epochs=(1, 2))
    await actor.join("a")
    begin_s = time.monotonic()
    asked = job(crop(10.0), crop(20.0, SLEEP, 0.5), rows={1: (1,), 2: (1,)})
    (first,) = read(await actor.answer("a", *asked))
    assert first.epoch == 1
    assert time.monotonic() - begin_s < 0.9
    (second,) = read(await actor.more("a", 7))
    assert second.epoch == 2


@pytest.mark.parametrize("how", ["leaves", "is forgotten"])
async def test_answers_that_nobody_fetches_any_more_are_dropped(monkeypatch, how):
    actor = actor_of(partial(load_slow, 0.02), epochs=(1, 2))
    await actor.join("a")
    await actor.join("b")
    await actor.answer("a", *job(crop(), rows={1: (0,), 2: (0,)}))
    assert len(actor._outboxes) == 1
    if how == "leaves":
        await actor.leave("a")
    else:
        monkeypatch.setattr(ray_actor, "FORGOTTEN_S", 0.0)
        await actor.watch("b", 0.01)
    assert not actor._outboxes


async def test_a_broken_model_is_told_not_raised():
    hello = await actor_of(load_broken).join("a")
    assert hello.told == Broken("epoch 2 is broken", is_model=True)


async def test_whatever_else_goes_wrong_at_the_start_is_told_too():
    def load(epoch: int, *, threads: int) -> Member:
        raise OSError(f"no device for {epoch} with {threads}")

    told = (await actor_of(load).join("a")).told
    assert isinstance(told, Broken)
    assert not told.is_model
    assert "no device for 2 with 1" in told.text


async def test_an_actor_loads_its_members_once_for_all_who_join():
    loaded = []

    def load(epoch: int, *, threads: int) -> Member:
        loaded.append(epoch)
        return load_fake(epoch, threads=threads)

    actor = actor_of(load, epochs=(2, 5))
    await asyncio.gather(actor.join("a"), actor.join("b"))
    assert loaded == [2, 5]


async def test_an_actor_knows_who_holds_it():
    actor = actor_of()
    await actor.join("a")
    await actor.join("b")
    assert await actor.watch("a", 0) == 2
    assert await actor.leave("a") == 1
    assert await actor.leave("b") == 0


async def test_a_front_end_that_is_silent_for_long_has_gone(monkeypatch):
    monkeypatch.setattr(ray_actor, "FORGOTTEN_S", 0.05)
    actor = actor_of()
    await actor.join("crashed")
    await asyncio.sleep(0.1)
    assert await actor.watch("a", 0) == 1


@pytest.mark.parametrize("calls", [0, 4])
async def test_an_actor_without_any_front_end_ends_itself(calls):
    ended = threading.Event()
    recipe = ActorRecipe(load_fake, (2,), 1, 4, SelfTest(crop()), orphan_s=0.4)
    actor = WorkerActor(recipe, ended.set)
    for _ in range(calls):
        await actor.watch("a", 0.2)
    assert not ended.is_set()
    assert await asyncio.to_thread(ended.wait, 30)
