"""What only a Ray engine does: actors shared by front ends; and starts that fail."""

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from functools import partial
from pathlib import Path

import pytest

from tests.serving.engines import ALL, asked, is_alive, pids
from tests.serving.fakes import SLEEP, crop, load_broken, load_crashing, load_slow, until
from tests.serving.ray_engines import ray_engine_of
from v2vpose.errors import InvalidModelError, UnavailableError
from v2vpose.serving.engines.watchdog import Patience
from v2vpose.serving.ports import MemberState

slow = pytest.mark.slow


@pytest.fixture
def name() -> str:
    return f"fake/{uuid.uuid4().hex}"


def actors(name: str) -> list[str]:
    from ray.util import list_named_actors

    names = (actor["name"] for actor in list_named_actors(all_namespaces=True))
    return [actor for actor in names if actor.startswith(name)]


@slow
async def test_front_ends_share_one_set_of_actors_and_the_last_one_ends_them(ray_address, name):
    one, two = (ray_engine_of(ray_address, name) for _ in range(2))
    await one.start()
    await two.start()
    started = pids(one)
    assert pids(two) == started
    await one.stop(grace_s=1)
    replies = asked(two, crop())
    await replies.all_of(1, 2, 3)
    assert set(replies.replies) == ALL
    await two.stop(grace_s=1)
    await until(lambda: not any(is_alive(pid) for pid in started))
    await until(lambda: not actors(name))


@slow
async def test_actors_that_somebody_ended_for_good_are_made_anew(ray_address, name):
    import ray

    engine = ray_engine_of(ray_address, name)
    await engine.start()
    ray.kill(ray.get_actor(f"{name}/0/2", namespace="v2vpose"), no_restart=True)
    await until(lambda: engine.workers()[1].restarts == 1 and engine.workers()[1].up)
    replies = asked(engine, crop())
    await replies.all_of(1, 2, 3)
    assert set(replies.replies) == ALL
    await engine.stop(grace_s=1)


@slow
async def test_members_are_spread_over_the_nodes(ray_address, name):
    engine = ray_engine_of(ray_address, name, replicas=2)
    await engine.start()
    raylets = [parent_of(pid) for pid in pids(engine)]
    assert len(raylets) == 6
    assert len(set(raylets)) == 2
    await engine.stop(grace_s=1)


@slow
@pytest.mark.parametrize(
    ("replicas", "cpus", "actors", "held"),
    [
        (1, 1.0, None, [6]),
        (1, 3.0, None, [2]),
        (4, 1.0, None, [3] * 4),
        (2, 1.0, 1, [1] * 2),
    ],
    ids=["a core each", "three cores each", "replicas share the cluster", "as told"],
)
async def test_members_are_packed_into_as_many_actors_as_a_node_has_cores(
    ray_address, name, replicas, cpus, actors, held
):
    engine = ray_engine_of(
        ray_address, name, tuple(range(1, 13)), replicas=replicas, cpus=cpus, actors=actors
    )
    await engine.start()
    of = [worker.name.split()[2] for worker in engine.workers()]
    assert [of.count(str(replica)) for replica in range(replicas)] == held
    for replica in range(replicas):
        assert set(engine.states(replica).values()) == {MemberState.UP}
    await engine.stop(grace_s=1)


@slow
async def test_an_actor_that_dies_takes_its_members_and_no_others(ray_address, name):
    engine = ray_engine_of(ray_address, name, (1, 2, 3, 4), actors=2)
    await engine.start()
    assert [worker.epochs for worker in engine.workers()] == [(1, 3), (2, 4)]
    both = frozenset({1, 2, 3, 4})
    replies = asked(engine, crop(0, SLEEP, 0.5), epochs=both)
    os.kill(pids(engine)[1], signal.SIGKILL)
    await replies.all_of(*both)
    assert set(replies.replies) == {1, 3}
    assert {reply.worker for reply in replies.replies.values()} == {0}
    assert set(replies.failed_at_s) == {2, 4}
    await until(lambda: all(worker.up for worker in engine.workers()))
    assert [worker.restarts for worker in engine.workers()] == [0, 1]
    again = asked(engine, crop(), epochs=both)
    await again.all_of(*both)
    assert set(again.replies) == both
    await engine.stop(grace_s=1)


@slow
async def test_what_an_actor_said_before_it_died_counts(ray_address, name):
    engine = ray_engine_of(ray_address, name, actors=1)
    await engine.start()
    replies = asked(engine, crop(0, SLEEP, 0.5))
    await replies.all_of(1)
    assert set(replies.replies) == {1}
    os.kill(pids(engine)[0], signal.SIGKILL)
    await replies.all_of(1, 2, 3)
    assert {1} <= set(replies.replies) < ALL
    assert 3 in replies.failed_at_s
    await engine.stop(grace_s=1)


@slow
async def test_the_answers_of_front_ends_that_share_an_actor_do_not_mix(ray_address, name):
    engines = [ray_engine_of(ray_address, name, actors=1) for _ in range(2)]
    for engine in engines:
        await engine.start()
    every = [
        asked(engine, crop(x, SLEEP, 0.02)) for engine, x in zip(engines, (1e2, 2e2), strict=True)
    ]
    for replies, x_mm in zip(every, (1e2, 2e2), strict=True):
        await replies.all_of(1, 2, 3)
        found = {epoch: r.answers[0].keypoints_mm[0, 0] for epoch, r in replies.replies.items()}
        assert found == {epoch: x_mm + epoch for epoch in ALL}
    for engine in engines:
        await engine.stop(grace_s=1)


@slow
@pytest.mark.parametrize(
    ("load", "patience", "error", "text"),
    [
        (load_broken, Patience(), InvalidModelError, "is broken"),
        (load_crashing, Patience(), UnavailableError, "ended while starting"),
        (partial(load_slow, 60.0), Patience(start_s=0.5), UnavailableError, r"within 0\.5 s"),
    ],
)
async def test_a_start_that_fails_says_why_and_leaves_nothing(
    ray_address, name, load, patience, error, text
):
    engine = ray_engine_of(ray_address, name, load=load, patience=patience)
    with pytest.raises(error, match=text):
        await engine.start()
    await until(lambda: not actors(name))


@slow
async def test_members_that_the_cluster_has_no_room_for_are_named(ray_address, name):
    engine = ray_engine_of(ray_address, name, cpus=1000, patience=Patience(start_s=1.0))
    with pytest.raises(UnavailableError, match="cores and GPUs that it asks for"):
        await engine.start()
    await until(lambda: not actors(name))


@slow
async def test_a_start_that_is_cancelled_leaves_nothing(ray_address, name):
    engine = ray_engine_of(ray_address, name, load=partial(load_slow, 60.0))
    starting = asyncio.create_task(engine.start())
    await until(lambda: len(actors(name)) == 3)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await until(lambda: not actors(name))


DRAIN = """
import asyncio, os, signal, sys
from v2vpose.serving.engines.ray_cluster import connect

async def main():
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    await asyncio.to_thread(connect, sys.argv[1])
    os.kill(os.getpid(), signal.SIGTERM)
    await told.wait()
    await asyncio.sleep(4)

asyncio.run(main())
"""


@slow
def test_ray_does_not_cut_a_drain_short(ray_address):
    done = subprocess.run(
        [sys.executable, "-c", DRAIN, ray_address], capture_output=True, check=False, timeout=90
    )
    assert done.returncode == 0, done.stderr


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


EMBEDDED = """
import sys
from v2vpose.__main__ import app
from v2vpose.app import build
from v2vpose.settings import Settings
build(Settings.read({"V2VPOSE_MODEL_STORE": sys.argv[1]}))
assert "v2vpose.serving.engines.local" in sys.modules
print([name for name in sys.modules if name == "ray" or name.startswith("ray.")])
"""


def test_the_embedded_engine_never_imports_ray(store):
    done = subprocess.run(
        [sys.executable, "-c", EMBEDDED, str(store.root)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.stdout == "[]\n", done.stderr
