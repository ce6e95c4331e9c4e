"""Several methods on the same labels: the paper's tables and curves from files of predictions."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from v2vpose.errors import InvalidFieldError
from v2vpose.evaluation.distance import DistanceReport, distances_mm, report, success_percent
from v2vpose.evaluation.mean_ap import MeanAP, mean_ap
from v2vpose.evaluation.published import read_published
from v2vpose.model_store.importers.known_sets import KnownSet, known_set
from v2vpose.values import FloatArray

UNKNOWN_SOURCE: Final = "not stated"
_CURVE_STEPS: Final = 81
_CURVE_END: Final = {"itop": 400.0}
_HAND_CURVE_END_MM: Final = 80.0


@dataclass(frozen=True, slots=True)
class MethodResult:
    """One method's figures.

    Attributes:
        name: of the method.
        distance: mean, median, by keypoint, success at 10 to 50 mm.
        bias_mm: mean difference from the labels along x, y, z.
        curve_percent: share of frames whose worst keypoint is within each of `curve_mm`.
        precision: mean average precision, for ITOP.
    """

    name: str
    distance: DistanceReport
    bias_mm: tuple[float, float, float]
    curve_percent: tuple[float, ...]
    precision: MeanAP | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Methods side by side.

    Attributes:
        dataset: which labels.
        keypoints: their names.
        frames: how many.
        centre_source: where the reference points of the predictions came from.
        curve_mm: thresholds of the success curves.
        methods: in the order given.
    """

    dataset: str
    keypoints: tuple[str, ...]
    frames: int
    centre_source: str
    curve_mm: tuple[float, ...]
    methods: tuple[MethodResult, ...]

    def to_json(self) -> str:
        """Return everything as JSON, readable by people."""
        return json.dumps(_rounded(asdict(self)), indent=2) + "\n"


def compare(
    known: KnownSet,
    truth_mm: FloatArray,
    found_mm: Mapping[str, FloatArray],
    *,
    centre_source: str = UNKNOWN_SOURCE,
) -> Comparison:
    """Measure every method against the labels.

    Args:
        known: the data set.
        truth_mm: (N, K, 3) labels.
        found_mm: (N, K, 3) predictions by method.
        centre_source: where their reference points came from.

    Raises:
        InvalidFieldError: no methods, or frames or keypoints are missing.
    """
    if not found_mm:
        raise InvalidFieldError("expected predictions of at least one method, got none")
    curve_mm = np.linspace(0, _CURVE_END.get(known.name, _HAND_CURVE_END_MM), _CURVE_STEPS)
    methods = []
    for name, points_mm in found_mm.items():
        try:
            distance_mm = distances_mm(points_mm, truth_mm)
        except InvalidFieldError as error:
            raise InvalidFieldError(f"{name}: {error}") from error
        bias = (points_mm - truth_mm).mean(axis=(0, 1))
        methods.append(
            MethodResult(
                name=name,
                distance=report(points_mm, truth_mm),
                bias_mm=(float(bias[0]), float(bias[1]), float(bias[2])),
                curve_percent=tuple(success_percent(distance_mm, curve_mm.tolist())),
                precision=mean_ap(distance_mm) if known.name == "itop" else None,
            )
        )
    return Comparison(
        dataset=known.name,
        keypoints=known.keypoints,
        frames=len(truth_mm),
        centre_source=centre_source,
        curve_mm=tuple(curve_mm.tolist()),
        methods=tuple(methods),
    )


def evaluate_files(
    dataset: str,
    labels: Path,
    predictions: Mapping[str, Path],
    *,
    centre_source: str = UNKNOWN_SOURCE,
    json_path: Path | None = None,
    html_path: Path | None = None,
) -> Comparison:
    """Compare files of predictions with a file of labels; write a report if asked to.

    Args:
        dataset: icvl, nyu, msra (lines of u v d), hands17 (mm) or itop (metres, y up).
        labels: the test set's labels.
        predictions: a file for each method, by its name.
        centre_source: where the predictions' reference points came from.
        json_path: where to write all figures.
        html_path: where to write a page with tables and plots, in one file.

    Raises:
        InvalidFieldError: a file is missing or malformed, or its frames are not the labels'.
    """
    known = known_set(dataset)
    found_mm = {name: read_published(path, known) for name, path in predictions.items()}
    result = compare(known, read_published(labels, known), found_mm, centre_source=centre_source)
    if json_path is not None:
        json_path.write_text(result.to_json(), encoding="utf-8")
    if html_path is not None:
        from v2vpose.evaluation.page import page  # noqa: PLC0415  # matplotlib takes a second

        html_path.write_text(page(result), encoding="utf-8")
    return result


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {str(key): _rounded(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_rounded(inner) for inner in value]
    return value
