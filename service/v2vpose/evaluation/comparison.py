"""Several methods on the same labels: the paper's tables and curves."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from v2vpose.errors import InvalidFieldError
from v2vpose.evaluation.distance import DistanceReport, distances_mm, report, success_percent
from v2vpose.evaluation.mean_ap import MeanAP, mean_ap
from v2vpose.evaluation.published import read_published
from v2vpose.evaluation.viewpoint import (
    PITCH_EDGES_DEG,
    YAW_EDGES_DEG,
    AngleBins,
    by_angle,
    palm_of,
    viewpoints_deg,
)
from v2vpose.model_store.importers.known_sets import ITOP, KnownSet, known_set
from v2vpose.values import FloatArray, Handedness

UNKNOWN_SOURCE: Final = "not stated"
_CURVE_STEPS: Final = 81
_CURVE_END_MM: Final = {ITOP.keypoints: 400.0}
_HAND_CURVE_END_MM: Final = 80.0


@dataclass(frozen=True, slots=True)
class Labels:
    """The truth about the frames that methods answered.

    Attributes:
        dataset: which labels.
        keypoints: their names.
        points_mm: (N, K, 3) camera frame.
        left: (N,) whether the frame shows a left hand.
        unanswered: how many frames more there were, on which no method answered.
    """

    dataset: str
    keypoints: tuple[str, ...]
    points_mm: FloatArray
    left: NDArray[np.bool_]
    unanswered: int = 0

    @property
    def frames(self) -> int:
        """All of them."""
        return len(self.points_mm) + self.unanswered


@dataclass(frozen=True, slots=True)
class Method:
    """One method's answers.

    Attributes:
        name: of the method.
        centre_source: where its reference points came from.
        points_mm: (N, K, 3) camera frame.
    """

    name: str
    centre_source: str
    points_mm: FloatArray


@dataclass(frozen=True, slots=True)
class MethodResult:
    """One method's figures.

    Attributes:
        name: of the method.
        centre_source: where its reference points came from.
        distance: mean, median, by keypoint, success at 10 to 50 mm.
        bias_mm: mean difference from the labels along x, y, z.
        curve_percent: share of frames whose worst keypoint is within each of `curve_mm`.
        precision: mean average precision, for ITOP's keypoints.
        yaw: mean error by yaw, for hands with a palm.
        pitch: mean error by pitch, likewise.
    """

    name: str
    centre_source: str
    distance: DistanceReport
    bias_mm: tuple[float, float, float]
    curve_percent: tuple[float, ...]
    precision: MeanAP | None
    yaw: AngleBins | None
    pitch: AngleBins | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Methods side by side. Distances are over answered frames; in shares, others are failures.

    Attributes:
        dataset: which labels.
        keypoints: their names.
        frames: how many.
        unanswered: on how many of them no method answered.
        curve_mm: thresholds of the success curves.
        methods: in the order given.
        facts: what else was found, by name.
    """

    dataset: str
    keypoints: tuple[str, ...]
    frames: int
    unanswered: int
    curve_mm: tuple[float, ...]
    methods: tuple[MethodResult, ...]
    facts: Mapping[str, Any]

    def to_json(self) -> str:
        """Return everything as JSON, readable by people."""
        return json.dumps(_rounded(asdict(self)), indent=2) + "\n"


def compare(
    labels: Labels, methods: Sequence[Method], facts: Mapping[str, Any] | None = None
) -> Comparison:
    """Measure every method against the labels.

    Raises:
        InvalidFieldError: no methods, or frames or keypoints are missing.
    """
    if not methods:
        raise InvalidFieldError("expected predictions of at least one method, got none")
    end_mm = _CURVE_END_MM.get(labels.keypoints, _HAND_CURVE_END_MM)
    curve_mm = np.linspace(0, end_mm, _CURVE_STEPS).tolist()
    return Comparison(
        dataset=labels.dataset,
        keypoints=labels.keypoints,
        frames=labels.frames,
        unanswered=labels.unanswered,
        curve_mm=tuple(curve_mm),
        methods=tuple(_measured(labels, method, curve_mm) for method in methods),
        facts=facts or {},
    )


def compare_files(
    dataset: str,
    labels: Path,
    predictions: Mapping[str, Path],
    *,
    centre_source: str = UNKNOWN_SOURCE,
) -> Comparison:
    """Compare files of predictions with a file of labels.

    Args:
        dataset: icvl, nyu, msra (lines of u v d), hands17 (mm) or itop (metres, y up).
        labels: the test set's labels.
        predictions: a file for each method, by its name.
        centre_source: where the predictions' reference points came from.

    Raises:
        InvalidFieldError: a file is missing or malformed, or its frames are not the labels'.
    """
    known = known_set(dataset)
    methods = [
        Method(name, centre_source, read_published(path, known))
        for name, path in predictions.items()
    ]
    return compare(published_labels(known, read_published(labels, known)), methods)


def published_labels(known: KnownSet, points_mm: FloatArray) -> Labels:
    """Return the labels of a public set, whose hands are all left or all right."""
    left = np.full(len(points_mm), known.handedness is Handedness.LEFT)
    return Labels(known.name, known.keypoints, points_mm, left)


def _measured(labels: Labels, method: Method, curve_mm: list[float]) -> MethodResult:
    try:
        distance_mm = distances_mm(method.points_mm, labels.points_mm)
    except InvalidFieldError as error:
        raise InvalidFieldError(f"{method.name}: {error}") from error
    answered = len(distance_mm) / labels.frames  # share
    bias = (method.points_mm - labels.points_mm).mean(axis=(0, 1))
    yaw, pitch = _by_viewpoint(labels, distance_mm)
    is_body = labels.keypoints == ITOP.keypoints
    return MethodResult(
        name=method.name,
        centre_source=method.centre_source,
        distance=report(method.points_mm, labels.points_mm, answered=answered),
        bias_mm=(float(bias[0]), float(bias[1]), float(bias[2])),
        curve_percent=tuple(s * answered for s in success_percent(distance_mm, curve_mm)),
        precision=mean_ap(distance_mm, answered=answered) if is_body else None,
        yaw=yaw,
        pitch=pitch,
    )


def _by_viewpoint(
    labels: Labels, distance_mm: FloatArray
) -> tuple[AngleBins, AngleBins] | tuple[None, None]:
    palm = palm_of(labels.keypoints)
    if palm is None:
        return None, None
    yaw, pitch = viewpoints_deg(labels.points_mm, palm, labels.left)
    error_mm = distance_mm.mean(axis=1)
    return by_angle(yaw, error_mm, YAW_EDGES_DEG), by_angle(pitch, error_mm, PITCH_EDGES_DEG)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, Mapping):
        return {str(key): _rounded(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_rounded(inner) for inner in value]
    return value
