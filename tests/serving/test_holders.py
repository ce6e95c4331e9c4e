"""Members are dealt out to the workers that hold them."""

from dataclasses import dataclass

from v2vpose.serving.engines import holders
from v2vpose.serving.engines.placement import WorkerPlan
from v2vpose.serving.ports import MemberState


@dataclass
class Worker:
    plan: WorkerPlan
    state: MemberState = MemberState.UP
    load: int = 0


def test_a_member_is_as_well_as_the_best_worker_that_holds_it():
    workers = [
        Worker(WorkerPlan(0, (1, 3)), MemberState.DOWN),
        Worker(WorkerPlan(0, (2, 3)), MemberState.LATE),
    ]
    assert holders.states(workers) == {
        1: MemberState.DOWN,
        2: MemberState.LATE,
        3: MemberState.LATE,
    }


def test_members_that_several_hold_even_things_out():
    first, second = (Worker(WorkerPlan(0, (epoch, 3, 4))) for epoch in (1, 2))
    assert holders.shares([first, second], (4, 3, 2, 1)) == [(first, [1, 3]), (second, [2, 4])]
    assert holders.shares([first, second], (1, 3, 4)) == [(first, [1, 4]), (second, [3])]


def test_a_worker_that_is_not_well_is_asked_only_for_what_nobody_else_holds():
    late = Worker(WorkerPlan(0, (1, 3)), MemberState.LATE)
    busy = Worker(WorkerPlan(0, (2, 3)), load=50)
    assert holders.shares([late, busy], (1, 2, 3)) == [(late, [1]), (busy, [2, 3])]
