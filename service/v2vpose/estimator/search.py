"""What a frame may hold, and what of it is taken: guesses, a judgement of them, targets.

A guess is a place and a hand. Where there is more than one, or where nobody but the detector says
that there is a target, a *judge* (one member) estimates all of them, and the ones it is surest of
are the targets (ADR 10), if it is sure enough (ADR 30). The judge's answer about a target is that
member's answer of the ensemble, so nothing is computed twice. Everything here is pure: who
asks the judge, in which process and how, is not this module's matter.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from v2vpose.errors import NothingToEstimateError
from v2vpose.model_store import Calibration, HandednessJudge, Manifest
from v2vpose.values import (
    Aggregate,
    Decode,
    FoundBy,
    Handedness,
    MemberAnswer,
    ReferencePoint,
    TargetCrop,
)

_UNKNOWN_SCORE: Final = 0.5
_SAME_TARGET_SHARE: Final = 1 / 3  # of the box's edge; places nearer than this are one target


@dataclass(frozen=True, slots=True)
class Target:
    """One target found in a frame, ready for the members.

    Attributes:
        crop: what crosses to a member; a mirror image if `is_mirrored`.
        reference_point: the first reference point, in the frame as it came.
        handedness: label and score, or None for subjects without one.
        is_mirrored: whether the crop is a mirror image, so that the nets see the hand they know.
        decode: how to decode heatmaps.
        epochs: the epoch checkpoints that make up the answer.
        known: the answers of those that were asked already, by epoch.
        aggregate: how the members' keypoints become one.
        calibration: what the height of a peak is worth; None: nobody knows.
    """

    crop: TargetCrop
    reference_point: ReferencePoint
    handedness: tuple[Handedness, float] | None
    is_mirrored: bool
    decode: Decode
    epochs: tuple[int, ...]
    known: Mapping[int, MemberAnswer] = field(default_factory=dict)
    aggregate: Aggregate = Aggregate.MEAN
    calibration: Calibration | None = None

    @property
    def is_answered(self) -> bool:
        """Whether there is nobody left to ask."""
        return len(self.known) == len(self.epochs)


@dataclass(frozen=True, slots=True)
class Guess:
    """One place and one hand in question, and what a member would see of it."""

    point: ReferencePoint
    crop: TargetCrop
    hand: Handedness | None


@dataclass(frozen=True, slots=True)
class Rivals:
    """Guesses of which at most `wanted` places are taken; without a judge, all of them."""

    guesses: tuple[Guess, ...]
    wanted: int = 1

    @property
    def are_told(self) -> bool:
        """Whether the caller said that there is a target."""
        return self.guesses[0].point.found_by is FoundBy.HINT

    def are_in_question(self, judge: HandednessJudge) -> bool:
        """Whether there is something to choose, or to refuse."""
        return len(self.guesses) > 1 or (judge.min_confidence > 0 and not self.are_told)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a member said of every guess in question, in order."""

    epoch: int
    answers: tuple[MemberAnswer, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """What a frame may hold.

    Attributes:
        manifest: of the model version.
        rivals: one for each hint, else one; or why there is nothing to guess at.
        decode: how to decode heatmaps.
        epochs: the epoch checkpoints to ask about the targets.
        is_hand_given: whether the caller told which hand it is.
        aggregate: how the members' keypoints become one.
    """

    manifest: Manifest
    rivals: tuple[Rivals | NothingToEstimateError, ...]
    decode: Decode
    epochs: tuple[int, ...]
    is_hand_given: bool
    aggregate: Aggregate = Aggregate.MEAN

    @property
    def in_question(self) -> tuple[Guess, ...]:
        """The guesses that a judge must see; none if there is nothing to choose or to refuse."""
        judge = self.manifest.judge
        if judge is None:
            return ()
        return tuple(
            guess
            for rivals in self.rivals
            if isinstance(rivals, Rivals) and rivals.are_in_question(judge)
            for guess in rivals.guesses
        )

    @property
    def judges(self) -> tuple[int, ...]:
        """The epoch checkpoints that may judge, the calibrated one first."""
        judge = self.manifest.judge
        if judge is None:
            return ()
        epochs = self.manifest.epoch_numbers
        first = epochs.index(judge.epoch)
        return (*epochs[first:], *epochs[:first])

    def targets(
        self, judgement: Judgement | None = None
    ) -> tuple[Target | NothingToEstimateError, ...]:
        """Return the targets, in the order of the hints, else the surest first.

        Args:
            judgement: of the guesses `in_question`; None if there are none.
        """
        answers = iter(() if judgement is None else judgement.answers)
        epoch = None if judgement is None else judgement.epoch
        judge = self.manifest.judge
        found: list[Target | NothingToEstimateError] = []
        for rivals in self.rivals:
            if isinstance(rivals, NothingToEstimateError):
                found.append(rivals)
            elif judge is None or not rivals.are_in_question(judge):
                found += [self._target(guess, _UNKNOWN_SCORE, {}) for guess in rivals.guesses]
            else:
                said = [next(answers) for _ in rivals.guesses]
                chosen = _chosen(rivals, said, judge)
                for index, score in chosen:
                    known = {epoch: said[index]} if epoch in self.epochs else {}
                    found.append(self._target(rivals.guesses[index], score, known))
                if not chosen:
                    found.append(self._nothing(said, judge))
        return tuple(found)

    def _nothing(
        self, said: Sequence[MemberAnswer], judge: HandednessJudge
    ) -> NothingToEstimateError:
        return NothingToEstimateError(
            f"no {self.manifest.subject} in view: the best place has a mean peak of "
            f"{max(map(_sureness, said)):.2f}, need {judge.min_confidence}; if there is a target, "
            "say where"
        )

    def _target(self, guess: Guess, score: float, known: Mapping[int, MemberAnswer]) -> Target:
        hand = guess.hand
        return Target(
            crop=guess.crop,
            reference_point=guess.point,
            handedness=None if hand is None else (hand, 1.0 if self.is_hand_given else score),
            is_mirrored=hand is not self.manifest.handedness,
            decode=self.decode,
            epochs=self.epochs,
            known=known,
            aggregate=self.aggregate,
            calibration=self.manifest.calibration,
        )


def _chosen(
    rivals: Rivals, said: Sequence[MemberAnswer], judge: HandednessJudge
) -> list[tuple[int, float]]:
    """Return index and sureness of the hand, 0.5..1, of the guesses taken, the surest first.

    None, if the judge is sure of none of them; a place that the caller told is not refused.
    """
    guesses = rivals.guesses
    sureness = [_sureness(answer) for answer in said]
    least = 0.0 if rivals.are_told else judge.min_confidence
    chosen: list[int] = []
    for index in sorted(range(len(guesses)), key=sureness.__getitem__, reverse=True):
        is_new = not any(_are_one_target(guesses[index], guesses[other]) for other in chosen)
        if len(chosen) < rivals.wanted and sureness[index] >= least and is_new:
            chosen.append(index)
    scores = []
    for index in chosen:
        others = [
            sureness[other]
            for other, guess in enumerate(guesses)
            if guess.point is guesses[index].point and guess.hand is not guesses[index].hand
        ]
        lead = sureness[index] - others[0] if others else 0.0
        scores.append((index, 1 / (1 + math.exp(-judge.per_confidence * lead))))
    return scores


def _sureness(answer: MemberAnswer) -> float:
    """Return the mean peak; 0 for an empty box, whatever a net says of nothing."""
    return float(answer.confidence.mean()) if answer.occupied_vox else 0.0


def _are_one_target(a: Guess, b: Guess) -> bool:
    distance_mm = float(np.linalg.norm(a.point.xyz_mm - b.point.xyz_mm))
    return distance_mm < _SAME_TARGET_SHARE * a.crop.side_mm
