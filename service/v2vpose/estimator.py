"""The paper on one page: one depth map -> one pose. No queues, no processes.

Find the first reference point -> cut out the target -> every epoch checkpoint refines, voxelizes,
forwards and warps (`member`) -> mean of their keypoints (section 8.3).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from v2vpose.backends import DetectorBackend, TorchDetector
from v2vpose.errors import InvalidFieldError, NothingToEstimateError, UnknownModelError
from v2vpose.geometry.camera import mirrored_points, pixel_from_camera
from v2vpose.localise import (
    detections,
    detector_image,
    first_reference_point,
    mirrored_crop,
    target_crop,
)
from v2vpose.member import BackendName, Member, best_backend, load_member, reach_mm
from v2vpose.model_store import Manifest, ModelVersion
from v2vpose.values import (
    Decode,
    DepthFrame,
    FoundBy,
    Handedness,
    Hint,
    MemberAnswer,
    Pose,
    ReferencePoint,
    TargetCrop,
)

MIN_SCORE: Final = 0.2
"""A detection below this is not a target."""

_UNKNOWN_SCORE: Final = 0.5
_MAX_CANDIDATES: Final = 3
_RIVAL_SHARE: Final = 0.4  # of the best detection's score; weaker ones are not looked at


NO_HINT: Final = Hint()


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller may choose; None leaves it to the model.

    Attributes:
        hint: what is known of the target's place.
        handedness: which hand it is; None = find out.
        side_mm: edge of the cubic box.
        decode: argmax or sub-voxel.
        epochs: a subset of the ensemble.
    """

    hint: Hint = NO_HINT
    handedness: Handedness | None = None
    side_mm: float | None = None
    decode: Decode | None = None
    epochs: tuple[int, ...] | None = None


DEFAULTS: Final = Options()


@dataclass(frozen=True, slots=True)
class Target:
    """One target found in a frame, ready for the members.

    Attributes:
        crop: what crosses to a member; a mirror image if `is_mirrored`.
        reference_point: the first reference point, in the frame as it came.
        handedness: label and score, or None for subjects without one.
        is_mirrored: whether the crop is a mirror image, so that the nets see the hand they know.
        decode: how to decode heatmaps.
        epochs: the epoch checkpoints to ask.
    """

    crop: TargetCrop
    reference_point: ReferencePoint
    handedness: tuple[Handedness, float] | None
    is_mirrored: bool
    decode: Decode
    epochs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Guess:
    """One place and one hand in question, and what a member would see of it."""

    point: ReferencePoint
    crop: TargetCrop
    hand: Handedness | None


class Localiser:
    """Finds the target of a frame, and which hand it is.

    Args:
        manifest: of the model version.
        detector: finds targets on the whole depth map; None = threshold and centre of mass.
        judge: the member that chooses among places and hands; None = the detector's best place,
            and the hand that the model knows.
    """

    def __init__(
        self, manifest: Manifest, detector: DetectorBackend | None, judge: Member | None
    ) -> None:
        self._manifest = manifest
        self._detector = detector
        self._judge = judge

    @classmethod
    def load(cls, version: ModelVersion, *, backend: BackendName | None = None) -> Self:
        """Load what a version localises with; backend None = the fastest here."""
        net, record = version.load_detector(), version.manifest.judge
        return cls(
            version.manifest,
            None if net is None else TorchDetector(net),
            None
            if record is None
            else load_member(version, record.epoch, backend=backend or best_backend()),
        )

    def locate(self, frame: DepthFrame, options: Options = DEFAULTS) -> Target:
        """Return the target: of all places and hands in question, the one the judge is surest of.

        Raises:
            NothingToEstimateError: no target in view.
            InvalidFieldError: an option is out of range.
            UnknownModelError: an epoch is not in the ensemble.
        """
        manifest = self._manifest
        epochs = chosen_epochs(manifest, options.epochs)
        side_mm = manifest.side_mm if options.side_mm is None else options.side_mm
        if not (math.isfinite(side_mm) and side_mm > 0):
            raise InvalidFieldError(f"side_mm must be > 0, got {side_mm}")
        hands = self._hands(options.handedness)
        guesses = [
            _Guess(point, self._crop(frame, point, side_mm, hand), hand)
            for point in self._candidates(frame, options.hint, side_mm)
            for hand in hands
        ]
        best, score = self._judged(guesses)
        known = manifest.handedness
        return Target(
            crop=best.crop,
            reference_point=best.point,
            handedness=None
            if best.hand is None
            else (best.hand, 1.0 if options.handedness else score),
            is_mirrored=best.hand is not known,
            decode=options.decode or manifest.decode,
            epochs=epochs,
        )

    def _hands(self, given: Handedness | None) -> tuple[Handedness | None, ...]:
        """Return the hands in question; (None,) for a subject without handedness."""
        known = self._manifest.handedness
        if known is None:
            return (None,)
        if given is not None:
            return (given,)
        return (known,) if self._judge is None else (known, known.other)

    def _candidates(
        self, frame: DepthFrame, hint: Hint, side_mm: float
    ) -> Sequence[ReferencePoint]:
        """Ask the detector; with a hint or without a detector, threshold and centre of mass."""
        manifest = self._manifest
        if self._detector is None or hint != NO_HINT:
            near_mm, far_mm = manifest.near_mm, manifest.far_mm
            return [
                first_reference_point(frame, hint, side_mm=side_mm, near_mm=near_mm, far_mm=far_mm)
            ]
        heat, depth_m = self._detector.heat(detector_image(frame))
        found = detections(heat, depth_m, frame, min_score=MIN_SCORE)
        if not found:
            raise NothingToEstimateError(
                f"no {manifest.subject} in view: the best detection scored {heat.max():.2f}, "
                f"need {MIN_SCORE}"
            )
        count = 1 if self._judge is None else _MAX_CANDIDATES
        rivals = [d for d in found[:count] if d.score >= _RIVAL_SHARE * found[0].score]
        return [ReferencePoint(d.xyz_mm, FoundBy.DETECTOR, d.score) for d in rivals]

    def _judged(self, guesses: Sequence["_Guess"]) -> tuple["_Guess", float]:
        """Return the guess with the highest mean peak, and how sure its hand is, 0.5..1."""
        record = self._manifest.judge
        if self._judge is None or record is None or len(guesses) == 1:
            return guesses[0], _UNKNOWN_SCORE
        answers = self._judge.estimate([guess.crop for guess in guesses], Decode.ARGMAX).answers
        sureness = [float(answer.confidence.mean()) for answer in answers]
        best = max(range(len(guesses)), key=sureness.__getitem__)
        chosen = guesses[best]
        rivals = [
            sure
            for sure, guess in zip(sureness, guesses, strict=True)
            if guess.point is chosen.point and guess.hand is not chosen.hand
        ]
        lead = sureness[best] - rivals[0] if rivals else 0.0
        return chosen, 1 / (1 + math.exp(-record.per_confidence * lead))

    def _crop(
        self, frame: DepthFrame, point: ReferencePoint, side_mm: float, hand: Handedness | None
    ) -> TargetCrop:
        """Return the crop around a point, showing the hand that the nets know."""
        refiner = self._manifest.refiner
        reach = reach_mm(
            side_mm=side_mm, refiner_side_mm=refiner.side_mm, refiner_passes=refiner.passes
        )
        crop = target_crop(frame, point.xyz_mm, side_mm=side_mm, reach_mm=reach)
        return crop if hand is self._manifest.handedness else mirrored_crop(crop)


class Estimator:
    """One model version in one process.

    Args:
        localiser: finds the target.
        members: its epoch checkpoints.
    """

    def __init__(self, localiser: Localiser, members: Sequence[Member]) -> None:
        self._localiser = localiser
        self._members = {member.epoch: member for member in members}

    @classmethod
    def load(cls, version: ModelVersion, *, backend: BackendName | None = None) -> Self:
        """Load every epoch checkpoint of a version; backend None = the fastest here."""
        name = backend or best_backend()
        members = [load_member(version, e, backend=name) for e in version.manifest.epoch_numbers]
        return cls(Localiser.load(version, backend=name), members)

    def estimate(self, frame: DepthFrame, options: Options = DEFAULTS) -> Pose:
        """Estimate the pose of the best target in the frame.

        Raises:
            NothingToEstimateError: no target in view, or an empty cube.
            InvalidFieldError: an option is out of range.
            UnknownModelError: an epoch is not in the ensemble.
        """
        target = self._localiser.locate(frame, options)
        answers = {
            epoch: self._members[epoch].estimate([target.crop], target.decode).answers[0]
            for epoch in target.epochs
        }
        return mean_pose(frame, target, answers)


def chosen_epochs(manifest: Manifest, epochs: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the epoch checkpoints to ask, in order.

    Raises:
        UnknownModelError: one is not in the ensemble.
        InvalidFieldError: the subset is empty.
    """
    if epochs is None:
        return manifest.epoch_numbers
    if not epochs:
        raise InvalidFieldError("epochs must name at least one epoch checkpoint")
    unknown = sorted(set(epochs) - set(manifest.epoch_numbers))
    if unknown:
        raise UnknownModelError(
            f"{manifest.model} version {manifest.version} has no epoch {unknown[0]}; "
            f"it has {', '.join(map(str, manifest.epoch_numbers))}"
        )
    return tuple(sorted(set(epochs)))


def mean_pose(frame: DepthFrame, target: Target, answers: Mapping[int, MemberAnswer]) -> Pose:
    """Average the members' keypoints in camera millimetres (paper, section 8.3).

    Args:
        frame: the frame as it came.
        target: what was asked.
        answers: of the members that answered, by epoch; at least one.

    Raises:
        NothingToEstimateError: every cube was empty.
    """
    if not any(answer.occupied_vox for answer in answers.values()):
        raise NothingToEstimateError(
            f"no readings inside the {target.crop.side_mm:g} mm cube around the reference point"
        )
    if target.is_mirrored:
        answers = {epoch: _unmirrored(answer) for epoch, answer in answers.items()}
    ordered = dict(sorted(answers.items()))
    each_mm = np.stack([answer.keypoints_mm for answer in ordered.values()])  # (M, K, 3)
    keypoints_mm = each_mm.mean(axis=0)  # (K, 3)
    distance_mm = np.linalg.norm(each_mm - keypoints_mm, axis=-1)  # (M, K)
    uv_px = pixel_from_camera(keypoints_mm, frame.intrinsics)  # (K, 2)
    rows, cols = frame.hw
    inside: NDArray[np.bool_] = (uv_px > -0.5) & (uv_px < np.array([cols, rows]) - 0.5)  # (K, 2)
    return Pose(
        keypoints_mm=keypoints_mm,
        uv_px=uv_px,
        confidence=np.stack([a.confidence for a in ordered.values()]).mean(axis=0),
        spread_mm=np.sqrt((distance_mm**2).mean(axis=0)),
        in_view=inside[:, 0] & inside[:, 1],
        handedness=target.handedness,
        reference_point=target.reference_point,
        refined_point_mm=np.stack([a.refined_point_mm for a in ordered.values()]).mean(axis=0),
        side_mm=target.crop.side_mm,
        epochs=target.epochs,
        answered=tuple(ordered),
        members=ordered,
    )


def _unmirrored(answer: MemberAnswer) -> MemberAnswer:
    return replace(
        answer,
        keypoints_mm=mirrored_points(answer.keypoints_mm),
        refined_point_mm=mirrored_points(answer.refined_point_mm),
    )
