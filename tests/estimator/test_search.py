"""What a judge says decides; pure, so it is the same in one process and in the service."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tests.api.fakes import manifest as plain_manifest
from v2vpose.errors import NothingToEstimateError
from v2vpose.estimator import Guess, Judgement, Rivals, Search, Target
from v2vpose.model_store import HandednessJudge, Manifest
from v2vpose.values import (
    Decode,
    FoundBy,
    Handedness,
    Intrinsics,
    MemberAnswer,
    ReferencePoint,
    TargetCrop,
)

RIGHT, LEFT = Handedness.RIGHT, Handedness.LEFT
NOTHING = NothingToEstimateError("nothing there")


@cache
def manifest() -> Manifest:
    judge = HandednessJudge(epoch=2, per_confidence=40)
    return plain_manifest().model_copy(update={"judge": judge})


@cache
def point(x_mm: float) -> ReferencePoint:
    return ReferencePoint(np.array([x_mm, 0.0, 500.0]), FoundBy.DETECTOR, 0.5)


def guess(x_mm: float, hand: Handedness = RIGHT) -> Guess:
    camera = Intrinsics(100, 100, 1, 1)
    crop = TargetCrop(np.zeros((2, 2), np.float32), camera, point(x_mm).xyz_mm, 240.0)
    return Guess(point(x_mm), crop, hand)


def search(*rivals: Rivals | NothingToEstimateError, epochs: tuple[int, ...] = (1, 2)) -> Search:
    return Search(manifest(), rivals, Decode.ARGMAX, epochs, is_hand_given=False)


def said(*sureness: float, occupied_vox: Sequence[int] | None = None) -> Judgement:
    occupied = occupied_vox or [1] * len(sureness)
    return Judgement(
        2,
        tuple(
            MemberAnswer(np.full((3, 3), sure), np.full(3, sure), np.zeros(3), vox)
            for sure, vox in zip(sureness, occupied, strict=True)
        ),
    )


def found(search: Search, judgement: Judgement | None) -> list[tuple[float, Handedness]]:
    targets = search.targets(judgement)
    assert all(isinstance(target, Target) for target in targets)
    return [(t.reference_point.xyz_mm[0], t.handedness[0]) for t in targets]  # type: ignore[union-attr,index]


@pytest.mark.parametrize(("right", "left", "hand"), [(0.5, 0.45, RIGHT), (0.45, 0.5, LEFT)])
def test_the_hand_is_the_one_that_the_judge_is_surer_of(right, left, hand):
    asked = search(Rivals((guess(0, RIGHT), guess(0, LEFT))))
    (target,) = asked.targets(said(right, left))
    assert isinstance(target, Target)
    assert target.handedness is not None
    assert target.handedness[0] is hand
    np.testing.assert_allclose(target.handedness[1], 1 / (1 + np.exp(-40 * 0.05)))
    assert target.is_mirrored is (hand is LEFT)


def test_of_two_places_the_one_that_looks_like_a_hand_is_taken():
    asked = search(Rivals((guess(0), guess(0, LEFT), guess(300), guess(300, LEFT))))
    assert found(asked, said(0.3, 0.2, 0.5, 0.8)) == [(300, LEFT)]
    assert found(asked, said(0.5, 0.5, 0.5, 0.5)) == [(0, RIGHT)]  # of equals, the first


def test_a_guess_that_shows_nothing_is_never_taken():
    asked = search(Rivals((guess(0), guess(300))))
    assert found(asked, said(0.9, 0.1, occupied_vox=(0, 5))) == [(300, RIGHT)]


def test_several_targets_come_surest_first_and_each_place_once():
    asked = search(Rivals((guess(0), guess(0, LEFT), guess(300), guess(70), guess(-300)), wanted=3))
    judgement = said(0.8, 0.7, 0.3, 0.75, 0.5)
    assert found(asked, judgement) == [(0, RIGHT), (-300, RIGHT), (300, RIGHT)]


def test_the_judges_answer_is_known_if_it_is_asked_for():
    guesses = Rivals((guess(0), guess(300)))
    (target,) = search(guesses).targets(said(0.3, 0.6))
    assert isinstance(target, Target)
    assert list(target.known) == [2]
    assert target.known[2].keypoints_mm[0, 0] == 0.6
    assert not target.is_answered
    for epochs, known in (((1,), 0), ((2,), 1)):
        (target,) = search(guesses, epochs=epochs).targets(said(0.3, 0.6))
        assert isinstance(target, Target)
        assert len(target.known) == known
        assert target.is_answered is (epochs == (2,))


def test_only_rivals_are_in_question_and_every_hint_keeps_its_place():
    both = Rivals((guess(5), guess(5, LEFT)))
    asked = search(Rivals((guess(1, LEFT),)), NOTHING, both, both)
    assert [each.point.xyz_mm[0] for each in asked.in_question] == [5, 5, 5, 5]
    first, second, *others = asked.targets(said(0.1, 0.2, 0.4, 0.3))
    assert isinstance(first, Target)
    assert first.handedness == (LEFT, 0.5)
    assert second is NOTHING
    assert [t.handedness[0] for t in others] == [LEFT, RIGHT]  # type: ignore[union-attr,index]


def test_a_hand_that_the_caller_told_is_not_doubted():
    told = Search(manifest(), (Rivals((guess(0, LEFT),)),), Decode.ARGMAX, (1,), is_hand_given=True)
    assert told.in_question == ()
    (target,) = told.targets()
    assert isinstance(target, Target)
    assert target.handedness == (LEFT, 1.0)


@cache
def doubting(least: float) -> Manifest:
    judge = HandednessJudge(epoch=2, per_confidence=40, min_confidence=least)
    return plain_manifest().model_copy(update={"judge": judge})


def doubted(*rivals: Rivals, least: float = 0.25) -> Search:
    return Search(doubting(least), rivals, Decode.ARGMAX, (1, 2), is_hand_given=False)


def test_a_place_that_the_judge_is_not_sure_of_shows_no_target():
    asked = doubted(Rivals((guess(0), guess(0, LEFT))))
    (nothing,) = asked.targets(said(0.24, 0.1))
    assert isinstance(nothing, NothingToEstimateError)
    assert "no hand in view: the best place has a mean peak of 0.24, need 0.25" in str(nothing)
    assert found(asked, said(0.25, 0.1)) == [(0, RIGHT)]


def test_of_several_targets_wanted_those_that_are_sure_remain():
    asked = doubted(Rivals((guess(0), guess(300), guess(-300)), wanted=3))
    assert found(asked, said(0.2, 0.5, 0.3)) == [(300, RIGHT), (-300, RIGHT)]


def test_a_single_guess_is_in_question_where_it_can_be_refused():
    alone = Rivals((guess(0),))
    assert doubted(alone, least=0.0).in_question == ()
    asked = doubted(alone)
    assert asked.in_question == alone.guesses
    (target,) = asked.targets(said(0.6))
    assert isinstance(target, Target)
    assert list(target.known) == [2]
    assert isinstance(asked.targets(said(0.1))[0], NothingToEstimateError)


def test_a_target_that_the_caller_told_of_is_not_refused():
    there = replace(point(0), found_by=FoundBy.HINT)
    right, left = (replace(guess(0, hand), point=there) for hand in (RIGHT, LEFT))
    assert doubted(Rivals((right,))).in_question == ()
    assert found(doubted(Rivals((right, left))), said(0.1, 0.2)) == [(0, LEFT)]


def test_the_calibrated_member_judges_first_and_every_other_may():
    assert search().judges == (2, 1)
    assert Search(plain_manifest(), (), Decode.ARGMAX, (1,), is_hand_given=False).judges == ()
