"""Guessing where the targets of a frame are: hint, detector, or threshold and centre of mass."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Self

from v2vpose.backends import DetectorBackend, TorchDetector
from v2vpose.errors import InvalidFieldError, NothingToEstimateError, UnknownModelError
from v2vpose.estimator.options import DEFAULTS, NO_HINT, Options
from v2vpose.estimator.search import Guess, Rivals, Search
from v2vpose.localise import (
    detections,
    detector_image,
    first_reference_point,
    mirrored_crop,
    target_crop,
)
from v2vpose.member import reach_mm
from v2vpose.model_store import Manifest, ModelVersion
from v2vpose.values import DepthFrame, FoundBy, Handedness, Hint, ReferencePoint, TargetCrop

MIN_SCORE: Final = 0.2
"""A detection below this is not a target."""

_SPARE_PLACES: Final = 2  # looked at by the judge beside those wanted
_RIVAL_SHARE: Final = 0.4  # of the best detection's score; where one target is wanted


class Localiser:
    """Finds what a frame may hold.

    Args:
        manifest: of the model version.
        detector: finds targets on the whole depth map; None = threshold and centre of mass.
    """

    def __init__(self, manifest: Manifest, detector: DetectorBackend | None) -> None:
        self._manifest = manifest
        self._detector = detector

    @classmethod
    def load(cls, version: ModelVersion) -> Self:
        """Load what a version localises with."""
        net = version.load_detector()
        return cls(version.manifest, None if net is None else TorchDetector(net))

    def search(self, frame: DepthFrame, options: Options = DEFAULTS) -> Search:
        """Return what the frame may hold.

        Raises:
            NothingToEstimateError: no target in view; of several hints, at none of them.
            InvalidFieldError: an option is out of range.
            UnknownModelError: an epoch is not in the ensemble.
        """
        manifest = self._manifest
        epochs = chosen_epochs(manifest, options.epochs)
        side_mm = manifest.side_mm if options.side_mm is None else options.side_mm
        if not (math.isfinite(side_mm) and side_mm > 0):
            raise InvalidFieldError(f"side_mm must be > 0, got {side_mm}")
        rivals = [
            self._rivals(frame, hint, options, side_mm) for hint in options.hints or (options.hint,)
        ]
        nothing = [each for each in rivals if isinstance(each, NothingToEstimateError)]
        if len(nothing) == len(rivals):
            raise nothing[0]
        return Search(
            manifest=manifest,
            rivals=tuple(rivals),
            decode=options.decode or manifest.decode,
            epochs=epochs,
            is_hand_given=options.handedness is not None,
            aggregate=options.aggregate,
        )

    def _rivals(
        self, frame: DepthFrame, hint: Hint, options: Options, side_mm: float
    ) -> Rivals | NothingToEstimateError:
        try:
            places = self._places(frame, hint, options.targets or 1, side_mm)
        except NothingToEstimateError as nothing:
            return nothing
        hands = self._hands(options.handedness)
        return Rivals(
            tuple(
                Guess(
                    point,
                    replace(
                        self._crop(frame, point, side_mm, hand), wants_slices=options.with_slices
                    ),
                    hand,
                )
                for point in places
                for hand in hands
            ),
            wanted=options.targets or 1,
        )

    def _hands(self, given: Handedness | None) -> tuple[Handedness | None, ...]:
        """Return the hands in question; (None,) for a subject without handedness."""
        known = self._manifest.handedness
        if known is None:
            return (None,)
        if given is not None:
            return (given,)
        return (known,) if self._manifest.judge is None else (known, known.other)

    def _places(
        self, frame: DepthFrame, hint: Hint, wanted: int, side_mm: float
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
        count = wanted if manifest.judge is None else wanted + _SPARE_PLACES
        least = _RIVAL_SHARE * found[0].score if wanted == 1 else MIN_SCORE
        rivals = [d for d in found[:count] if d.score >= least]
        return [ReferencePoint(d.xyz_mm, FoundBy.DETECTOR, d.score) for d in rivals]

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
