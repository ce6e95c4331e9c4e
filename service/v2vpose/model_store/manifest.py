"""The manifest: everything about a model version that its weights do not say.

Mixing conventions inside one ensemble silently costs 1 to 20 mm, so every checkpoint file carries
its conventions too, and the two must agree.
"""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from v2vpose.geometry.cubic_box import CENTRED_CELL_OFFSET, RELEASE_CELL_OFFSET
from v2vpose.values import Decode, FloatArray, Handedness

SCHEMA_VERSION: Final = 1
INPUT_SIDE_STEP: Final = 8  # two poolings after the first one


class LabelConvention(StrEnum):
    """How training labels were placed on the heatmap grid; it decides how peaks are warped.

    The release floors labels to voxels of its world. Where that world is y-up, the importer mirrors
    the net into ours (`importers.layers`), and the floor along y becomes a ceiling.
    """

    CENTRED = "centred"
    RELEASE = "release"
    RELEASE_Y_UP = "release_y_up"
    DRAGONBOOK = "dragonbook"

    @property
    def cell_offset(self) -> float | tuple[float, float, float]:
        """Place of a cell's centre, see `geometry.cubic_box`; along x, y, z where they differ."""
        low, middle = RELEASE_CELL_OFFSET, CENTRED_CELL_OFFSET
        if self is LabelConvention.RELEASE_Y_UP:
            return low, 1 - low, low
        return low if self is LabelConvention.RELEASE else middle


class Subject(StrEnum):
    """What the model finds."""

    HAND = "hand"
    BODY = "body"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Conventions(_Strict):
    """What must be equal for every checkpoint of an ensemble."""

    axis_order: Literal["zyx"] = "zyx"
    y_axis: Literal["down"] = "down"
    unit: Literal["mm"] = "mm"
    invalid_depth: Literal["drop"] = "drop"
    label: LabelConvention = LabelConvention.CENTRED
    ray_offset: float = 0.0
    """How far readings lay right and below of the labels in training, as the tangent of an angle:
    pixels by which a loader misplaced them / focal length. Members misplace theirs alike."""


class Keypoint(_Strict):
    """One keypoint: its name, and exactly which place of the body it is."""

    name: str
    meaning: str


class RefinerRecord(_Strict):
    """How the reference point is refined."""

    side_mm: Annotated[float, Field(gt=0)]
    passes: Annotated[int, Field(ge=0)]
    target: Literal["bbox_midpoint", "mean", "keypoint"] = "bbox_midpoint"


class FileRecord(_Strict):
    """A file of the version, as it was when it was written."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class EpochRecord(FileRecord):
    """The file of one epoch checkpoint: refiner and V2V weights together."""

    epoch: Annotated[int, Field(ge=1)]


class HandednessJudge(_Strict):
    """One epoch checkpoint looks at the crop and at its mirror image; the surer one is the hand.

    The score is the logistic function of `per_confidence` times the difference of their mean
    confidences, fitted on frames that nothing was trained on.
    """

    epoch: Annotated[int, Field(ge=1)]
    per_confidence: Annotated[float, Field(gt=0)]
    min_confidence: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Mean peak of the surer one below which a place that nobody pointed at shows no target,
    chosen on generated scenes with and without one; 0: whatever is found is a target."""


_Share = Annotated[float, Field(ge=0, le=1)]


class Calibration(_Strict):
    """What the height of a peak, mean over the epoch checkpoints, is worth.

    Of keypoints with a peak of `peaks[i]` the share `shares[i]` lies within `within_mm` of the
    truth, on frames that nothing was trained on; linear in between.
    """

    within_mm: Annotated[float, Field(gt=0)]
    peaks: Annotated[list[_Share], Field(min_length=2)]
    shares: Annotated[list[_Share], Field(min_length=2)]

    def confidence(self, peaks: FloatArray) -> FloatArray:
        """Return (...) probabilities that keypoints are right, for (...) heights of their peaks."""
        shares: FloatArray = np.interp(peaks, self.peaks, self.shares)
        return shares

    @model_validator(mode="after")
    def _is_monotone(self) -> Self:
        if len(self.peaks) != len(self.shares):
            raise ValueError(f"{len(self.peaks)} peaks, but {len(self.shares)} shares")
        if sorted(set(self.peaks)) != self.peaks or sorted(self.shares) != self.shares:
            raise ValueError("peaks must rise, and shares must not fall")
        return self


class Manifest(_Strict):
    """`manifest.json` of one model version."""

    schema_version: Literal[1] = SCHEMA_VERSION
    model: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    version: Annotated[str, Field(pattern=r"^[0-9]+$")]
    description: str
    subject: Subject
    handedness: Handedness | None = None
    """The one hand the nets know; the other is mirrored into it. None: no such thing."""
    keypoints: Annotated[list[Keypoint], Field(min_length=1)]
    skeleton: list[tuple[int, int]]
    input_side: Annotated[int, Field(gt=0, multiple_of=INPUT_SIDE_STEP)]
    width: Annotated[int, Field(gt=0)]
    side_mm: Annotated[float, Field(gt=0)]
    near_mm: Annotated[float, Field(ge=0)]
    far_mm: Annotated[float, Field(gt=0)]
    refiner: RefinerRecord
    conventions: Conventions = Conventions()
    decode: Decode
    """The decoding this version was validated with."""
    epochs: Annotated[list[EpochRecord], Field(min_length=1)]
    detector: FileRecord | None = None
    """The net that finds the first reference point; None: depth threshold."""
    judge: HandednessJudge | None = None
    """How `handedness: auto` is decided; None: it is taken to be the hand that the nets know."""
    calibration: Calibration | None = None
    """What `confidence` means; None: it is the mean height of the heatmaps' peaks."""
    training: dict[str, Any] = Field(default_factory=dict)
    figures: dict[str, Any] = Field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Names of the keypoints, in order."""
        return [keypoint.name for keypoint in self.keypoints]

    @property
    def epoch_numbers(self) -> tuple[int, ...]:
        """Numbers of the epoch checkpoints, in order."""
        return tuple(record.epoch for record in self.epochs)

    @property
    def confidence_within_mm(self) -> float | None:
        """What `confidence` is a probability of; None: it is none."""
        return None if self.calibration is None else self.calibration.within_mm

    @model_validator(mode="after")
    def _indices_and_numbers_make_sense(self) -> Self:
        count = len(self.keypoints)
        for edge in self.skeleton:
            if not all(0 <= end < count for end in edge):
                raise ValueError(f"skeleton edge {edge} names a keypoint outside 0..{count - 1}")
        for what, values in (("keypoint name", self.names), ("epoch", list(self.epoch_numbers))):
            if len(set(values)) != len(values):
                raise ValueError(f"a {what} appears twice: {values}")
        if self.judge is not None and self.judge.epoch not in self.epoch_numbers:
            raise ValueError(f"judge: epoch {self.judge.epoch} is not in {self.epoch_numbers}")
        if self.near_mm >= self.far_mm:
            raise ValueError(f"near_mm {self.near_mm} must be less than far_mm {self.far_mm}")
        return self
