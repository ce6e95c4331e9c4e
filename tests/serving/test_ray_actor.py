"""The far side of a Ray engine, without Ray: it is a class like any other."""

import asyncio
import os
import threading

import pytest

from tests.serving.fakes import FAIL, crop, load_broken, load_fake
from v2vpose.serving.engines import ray_actor
from v2vpose.serving.engines.messages import Broken, Ready
from v2vpose.serving.engines.ray_actor import (
    ActorRecipe,
    MemberActor,
    packed_crops,
    this_machine,
    unpacked_crops,
)
from v2vpose.serving.ports import LoadMember, Member
from v2vpose.serving.self_test import SelfTest
from v2vpose.values import Decode


def actor_of(load: LoadMember = load_fake, *, orphan_s: float = 60.0) -> MemberActor:
    recipe = ActorRecipe(load, 2, 1, 4, SelfTest(crop()), orphan_s=orphan_s)
    return MemberActor(recipe, lambda: None)


async def test_an_actor_says_that_it_is_ready_and_where_it_is():
    hello = await actor_of().join("a")
    assert isinstance(hello.told, Ready)
    assert (hello.pid, hello.machine) == (os.getpid(), this_machine())


async def test_an_actor_answers_the_rows_it_is_asked_about():
    packed = packed_crops([crop(10.0), crop(20.0), crop(30.0, FAIL)], Decode.ARGMAX)
    actor = actor_of()
    await actor.join("a")
    answer = await actor.answer(packed, (1, 2), 7)
    assert (answer.number, answer.epoch, answer.rows) == (7, 2, (1,))
    assert answer.answers()[1].keypoints_mm[0, 0] == 22
    assert answer.error is not None
    assert "ordered to fail" in answer.error


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


async def test_an_actor_loads_its_member_once_for_all_who_join():
    loaded = []

    def load(epoch: int, *, threads: int) -> Member:
        loaded.append(epoch)
        return load_fake(epoch, threads=threads)

    actor = actor_of(load)
    await asyncio.gather(actor.join("a"), actor.join("b"))
    assert loaded == [2]


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
    recipe = ActorRecipe(load_fake, 2, 1, 4, SelfTest(crop()), orphan_s=0.4)
    actor = MemberActor(recipe, ended.set)
    for _ in range(calls):
        await actor.watch("a", 0.2)
    assert not ended.is_set()
    assert await asyncio.to_thread(ended.wait, 30)


def test_crops_travel_whole():
    (found,), decode = unpacked_crops(packed_crops([crop(3.0, FAIL, 0.5)], Decode.SUBVOXEL))
    sent = crop(3.0, FAIL, 0.5)
    assert decode is Decode.SUBVOXEL
    assert (found.depth_mm == sent.depth_mm).all()
    assert (found.reference_point_mm == sent.reference_point_mm).all()
    assert (found.intrinsics, found.side_mm) == (sent.intrinsics, sent.side_mm)
