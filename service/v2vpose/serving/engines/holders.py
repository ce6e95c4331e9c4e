"""Who answers for which member: members are dealt out to the workers that hold them."""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol, TypeVar

from v2vpose.serving.engines.placement import WorkerPlan
from v2vpose.serving.ports import MemberState

_WELL: Final = (MemberState.UP, MemberState.LATE, MemberState.DOWN)  # from best to worst


class Holder(Protocol):
    """A worker, as far as dealing goes."""

    @property
    def plan(self) -> WorkerPlan:
        """What it holds."""
        ...

    @property
    def state(self) -> MemberState:
        """How far it can be relied on."""
        ...

    @property
    def load(self) -> int:
        """How many members' answers are awaited."""
        ...


_H = TypeVar("_H", bound=Holder)


def states(holders: Iterable[Holder]) -> dict[int, MemberState]:
    """Return the state of every member of a replica, by epoch: of the best worker that holds it."""
    found: dict[int, MemberState] = {}
    for holder in holders:
        for epoch in holder.plan.epochs:
            known = found.get(epoch, MemberState.DOWN)
            found[epoch] = min(known, holder.state, key=_WELL.index)
    return found


def shares(holders: Sequence[_H], epochs: Iterable[int]) -> list[tuple[_H, list[int]]]:
    """Deal members out to the workers that hold them: the best ones, the least loaded first.

    Members with fewer holders are dealt first, so that the others can even things out.
    """
    of = {epoch: [i for i, h in enumerate(holders) if epoch in h.plan.epochs] for epoch in epochs}
    dealt: dict[int, list[int]] = {}

    def burden(place: int) -> tuple[int, int]:
        holder = holders[place]
        return _WELL.index(holder.state), holder.load + len(dealt.get(place, ()))

    for epoch in sorted(of, key=lambda epoch: (len(of[epoch]), epoch)):
        dealt.setdefault(min(of[epoch], key=burden), []).append(epoch)
    return [(holders[place], share) for place, share in dealt.items()]
