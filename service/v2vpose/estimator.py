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


class Localiser:
    """Finds the target of a frame, and which hand it is.

    Args:
        manifest: of the model version.
        detector: finds targets on the whole depth map; None = threshold and centre of mass.
        judge: the member that tells hands apart; None = it is the hand that the model knows.
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
        """Return the target.

        Raises:
            NothingToEstimateError: no target in view.
            InvalidFieldError: an option is out of range.
            UnknownModelError: an epoch is not in the ensemble.
        """
        manifest = self._manifest
        epochs = chosen_epochs(manifest, options.epochs)
        side_mm = manifest.side_mm if options.side_mm is None else options.side_mm
        if not side_mm > 0:
            raise InvalidFieldError(f"side_mm must be > 0, got {side_mm}")
        point = self._first_reference_point(frame, options.hint, side_mm)
        handedness = self._handedness(frame, point, options.handedness, side_mm)
        is_mirrored = handedness is not None and handedness[0] is not manifest.handedness
        return Target(
            crop=self._crop(frame, point, side_mm, is_mirrored=is_mirrored),
            reference_point=point,
            handedness=handedness,
            is_mirrored=is_mirrored,
            decode=options.decode or manifest.decode,
            epochs=epochs,
        )

    def _first_reference_point(
        self, frame: DepthFrame, hint: Hint, side_mm: float
    ) -> ReferencePoint:
        """Ask the detector; with a hint or without a detector, threshold and centre of mass."""
        manifest = self._manifest
        if self._detector is None or hint != NO_HINT:
            return first_reference_point(
                frame, hint, side_mm=side_mm, near_mm=manifest.near_mm, far_mm=manifest.far_mm
            )
        heat, depth_m = self._detector.heat(detector_image(frame))
        found = detections(heat, depth_m, frame, min_score=MIN_SCORE)
        if not found:
            raise NothingToEstimateError(
                f"no {manifest.subject} in view: the best detection scored {heat.max():.2f}, "
                f"need {MIN_SCORE}"
            )
        return ReferencePoint(found[0].xyz_mm, FoundBy.DETECTOR, found[0].score)

    def _handedness(
        self, frame: DepthFrame, point: ReferencePoint, given: Handedness | None, side_mm: float
    ) -> tuple[Handedness, float] | None:
        """Return label and score: the caller's, the judge's, or the hand that the model knows."""
        manifest = self._manifest
        known = manifest.handedness
        if known is None:
            return None
        if given is not None:
            return given, 1.0
        if self._judge is None or manifest.judge is None:
            return known, _UNKNOWN_SCORE
        crops = [self._crop(frame, point, side_mm, is_mirrored=m) for m in (False, True)]
        as_it_is, in_mirror = self._judge.estimate(crops, Decode.ARGMAX).answers
        lead = float(as_it_is.confidence.mean() - in_mirror.confidence.mean())
        score = 1 / (1 + math.exp(-manifest.judge.per_confidence * abs(lead)))
        return (known if lead >= 0 else known.other), score

    def _crop(
        self, frame: DepthFrame, point: ReferencePoint, side_mm: float, *, is_mirrored: bool
    ) -> TargetCrop:
        refiner = self._manifest.refiner
        reach = reach_mm(
            side_mm=side_mm, refiner_side_mm=refiner.side_mm, refiner_passes=refiner.passes
        )
        crop = target_crop(frame, point.xyz_mm, side_mm=side_mm, reach_mm=reach)
        return mirrored_crop(crop) if is_mirrored else crop


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
