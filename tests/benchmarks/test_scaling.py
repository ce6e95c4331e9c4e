"""The simulation agrees with queueing theory wherever there is a formula."""

import numpy as np
import pytest

from benchmarks.scaling.formulas import (
    erlang_c,
    fork_join_bounds_s,
    fork_join_s,
    fork_join_two_s,
    md1_response_s,
    mm1_response_s,
    mmc_response_s,
)
from benchmarks.scaling.simulation import Simulation, Site, constant, exponential

WITHOUT_LIMIT = 10**9
REQUESTS = 60_000


def mean_s(site: Site, rate: float, seed: int = 1) -> float:
    return float(Simulation(site, seed).open_loop(rate, REQUESTS).latency_s.mean())


@pytest.mark.parametrize("busy", [0.3, 0.7])
def test_one_member_with_random_work_is_an_mm1_queue(busy):
    site = Site(placement=((0,),), service=exponential(1.0))
    assert mean_s(site, busy) == pytest.approx(mm1_response_s(rate=busy, served_rate=1.0), rel=0.05)


@pytest.mark.parametrize("busy", [0.3, 0.7])
def test_one_member_with_constant_work_is_an_md1_queue(busy):
    site = Site(placement=((0,),), service=constant(1.0))
    assert mean_s(site, busy) == pytest.approx(md1_response_s(rate=busy, service_s=1.0), rel=0.03)


@pytest.mark.parametrize("servers", [2, 5])
def test_replicas_that_hold_one_batch_are_an_mmc_queue(servers):
    site = Site(tuple((k,) for k in range(servers)), exponential(1.0), held=1)
    rate = 0.8 * servers
    expected_s = mmc_response_s(rate=rate, served_rate=1.0, servers=servers)
    assert mean_s(site, rate) == pytest.approx(expected_s, rel=0.05)


def test_a_batch_held_ready_costs_a_little_over_one_common_queue():
    common, held = (
        mean_s(Site(tuple((k,) for k in range(5)), exponential(1.0), held=held), 4.0)
        for held in (1, 2)
    )
    assert common < held < 1.5 * common


def test_erlang_c_of_one_server_is_its_utilisation():
    assert erlang_c(servers=1, offered=0.6) == pytest.approx(0.6)
    assert erlang_c(servers=2, offered=1.0) == pytest.approx(1 / 3)


def test_two_members_are_a_fork_join_queue():
    site = Site(((0, 1),), exponential(1.0), held=WITHOUT_LIMIT)
    expected_s = fork_join_two_s(rate=0.6, served_rate=1.0)
    assert mean_s(site, 0.6) == pytest.approx(expected_s, rel=0.05)


def test_ten_members_lie_between_the_bounds_and_near_the_approximation():
    found_s = mean_s(Site((tuple(range(10)),), exponential(1.0), held=WITHOUT_LIMIT), 0.6)
    least_s, most_s = fork_join_bounds_s(10, rate=0.6, served_rate=1.0)
    assert least_s < found_s < most_s
    assert found_s == pytest.approx(fork_join_s(10, rate=0.6, served_rate=1.0), rel=0.07)


def test_full_batches_give_the_throughput_of_their_size():
    site = Site(((0,),), constant(0.020, 0.005), max_batch=4, max_delay_s=0.01)
    outcome = Simulation(site, 0).closed_loop(clients=16, requests=4000)
    assert outcome.throughput == pytest.approx(4 / 0.040, rel=0.01)
    assert outcome.batch_size == pytest.approx(4, rel=0.01)


def test_one_client_alone_waits_for_the_front_two_hops_and_one_crop():
    site = Site(((0, 1),), constant(0.020, 0.005), max_batch=4, hop_s=0.001, front_s=0.002)
    outcome = Simulation(site, 0).closed_loop(clients=1, requests=50)
    np.testing.assert_allclose(outcome.latency_s, 0.029)
    assert outcome.busy[0] == pytest.approx(25 / 29, rel=0.01)


def test_members_of_one_worker_work_in_turn():
    site = Site(((0, 0, 0),), constant(0.010))
    outcome = Simulation(site, 0).closed_loop(clients=1, requests=50)
    np.testing.assert_allclose(outcome.latency_s, 0.030)


def test_a_seed_gives_one_run():
    site = Site(((0,),), exponential(1.0))
    one, same, other = (Simulation(site, seed).open_loop(0.5, 500) for seed in (1, 1, 2))
    assert (one.latency_s == same.latency_s).all()
    assert one.throughput != other.throughput
