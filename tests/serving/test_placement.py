import pytest

from v2vpose.serving.engines.placement import WorkerPlan, automatic, available_cores, in_actors

TEN = tuple(range(1, 11))


@pytest.mark.parametrize(
    ("count", "cores", "workers", "threads"),
    [(10, 1, 1, 1), (10, 2, 2, 1), (2, 8, 2, 4), (3, 4, 3, 1), (10, 5, 5, 1)],
)
def test_members_are_dealt_out_to_the_cores(count, cores, workers, threads):
    plans = automatic(TEN[:count], cores=cores)
    assert len(plans) == workers
    assert sorted(e for plan in plans for e in plan.epochs) == list(TEN[:count])
    assert {len(plan.epochs) for plan in plans} == {count // workers}
    assert {plan.threads for plan in plans} == {threads}


def test_members_that_are_left_over_are_held_by_every_worker():
    assert [plan.epochs for plan in automatic(TEN[:5], cores=2)] == [(1, 3, 5), (2, 4, 5)]
    assert [plan.epochs for plan in automatic(TEN, cores=4)] == [
        (1, 5, 9, 10),
        (2, 6, 9, 10),
        (3, 7, 9, 10),
        (4, 8, 9, 10),
    ]


def test_replicas_on_cores_share_them():
    plans = automatic(TEN, cores=4, replicas=2)
    assert [plan.replica for plan in plans] == [0, 0, 1, 1]
    assert sum(plan.threads for plan in plans) == 4


def test_more_replicas_than_cores_still_run():
    assert len(automatic(TEN, cores=1, replicas=3)) == 3


def test_on_gpus_every_member_has_a_worker():
    plans = automatic(TEN, cores=16, gpus=1)
    assert [plan.epochs for plan in plans] == [(epoch,) for epoch in TEN]
    assert {plan.device for plan in plans} == {"cuda:0"}


def test_members_spread_over_the_gpus_and_replicas_keep_apart():
    assert [p.device for p in automatic((1, 2, 3), cores=1, gpus=2)] == [
        "cuda:0",
        "cuda:1",
        "cuda:0",
    ]
    plans = automatic((1, 2), cores=1, gpus=4, replicas=2)
    devices = [{p.device for p in plans if p.replica == replica} for replica in (0, 1)]
    assert devices == [{"cuda:0", "cuda:2"}, {"cuda:1", "cuda:3"}]
    assert {p.device for p in automatic((1, 2), cores=1, gpus=1, replicas=3)} == {"cuda:0"}


def test_actors_hold_what_workers_on_so_many_cores_would():
    epochs = tuple(range(1, 11))
    plans = in_actors(epochs, actors=4, threads=1, device="cpu", replicas=2)
    assert plans == automatic(epochs, cores=8, replicas=2)


def test_there_are_no_more_actors_than_members():
    plans = in_actors((3, 5), actors=10, threads=2, device="gpu", replicas=1)
    assert plans == (WorkerPlan(0, (3,), "gpu", 2), WorkerPlan(0, (5,), "gpu", 2))


def test_there_is_at_least_one_core():
    assert available_cores() >= 1
