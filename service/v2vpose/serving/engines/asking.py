"""What every worker does with its members, wherever it runs: warm them up, ask them.

Whatever a member raises costs only the crops that made it raise.
"""

import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from v2vpose.serving.engines.messages import Answer
from v2vpose.serving.ports import Member
from v2vpose.serving.self_test import SelfTest, warm_up
from v2vpose.values import Decode, MemberAnswer, TargetCrop

_TELL_WITHIN_S: Final = 0.005


def warmed(
    members: Mapping[int, Member], self_test: SelfTest, *, threads: int, max_batch_size: int
) -> float:
    """Warm members up and test them, by epoch.

    Returns:
        The longest that one took for the largest batch, in seconds.

    Raises:
        InvalidModelError: a self-test failed.
    """
    _limit_threads(threads)
    slowest_s = 0.0
    for epoch, member in members.items():
        warm_up(member, epoch, self_test, max_batch_size=max_batch_size)
        begin_s = time.perf_counter()
        member.estimate([self_test.crop] * max_batch_size, self_test.decode)
        slowest_s = max(slowest_s, time.perf_counter() - begin_s)
    return slowest_s


def answer(
    member: Member,
    crops: Mapping[int, TargetCrop],
    decode: Decode,
    *,
    number: int,
    epoch: int,
) -> Answer:
    """Ask a member about crops; if it fails on them together, one by one.

    Args:
        member: who is asked.
        crops: by place in the batch.
        decode: how to decode heatmaps.
        number: of the job.
        epoch: of the member.
    """
    rows = tuple(crops)
    try:
        answers, stage_s = _ask(member, tuple(crops.values()), decode)
        return Answer.of(number, epoch, _finite(rows, answers), stage_s)
    except Exception:  # noqa: BLE001 - it is reported, and the crops are tried one by one
        error = traceback.format_exc()
    found: dict[int, MemberAnswer] = {}
    total_s: dict[str, float] = {}
    for row, crop in crops.items() if len(crops) > 1 else ():
        alone = answer(member, {row: crop}, decode, number=number, epoch=epoch)
        found |= alone.answers()
        for stage, seconds in alone.stage_s.items():
            total_s[stage] = total_s.get(stage, 0.0) + seconds
    return Answer.of(number, epoch, found, total_s, error)


def in_groups(answers: Iterable[Answer]) -> Iterator[list[Answer]]:
    """Yield answers soon after they came, and quick ones together."""
    group: list[Answer] = []
    told_s = time.perf_counter()
    for one in answers:
        group.append(one)
        if time.perf_counter() - told_s > _TELL_WITHIN_S:
            yield group
            group = []
            told_s = time.perf_counter()
    if group:
        yield group


def _limit_threads(threads: int) -> None:
    """Tell PyTorch, if the members brought it, how many threads there are."""
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def _ask(
    member: Member, crops: Sequence[TargetCrop], decode: Decode
) -> tuple[tuple[MemberAnswer, ...], dict[str, float]]:
    batch = member.estimate(crops, decode)
    if len(batch.answers) != len(crops):
        raise RuntimeError(f"{len(batch.answers)} answers to {len(crops)} crops")
    return batch.answers, batch.stage_s


def _finite(rows: Sequence[int], answers: Sequence[MemberAnswer]) -> dict[int, MemberAnswer]:
    """Return the answers by row, without those that hold NaN or infinity."""
    return {
        row: answer
        for row, answer in zip(rows, answers, strict=True)
        if np.isfinite(answer.keypoints_mm).all() and np.isfinite(answer.confidence).all()
    }
