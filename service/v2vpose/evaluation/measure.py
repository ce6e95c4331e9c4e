"""Measuring an epoch ensemble on labelled frames, the whole way that a served frame goes.

What the estimator is told beyond the depth map and its intrinsics is `options`: nothing, which hand
it is, or a reference point.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from v2vpose.errors import NothingToEstimateError
from v2vpose.estimator import DEFAULTS, Estimator, Options
from v2vpose.evaluation.distance import distances_mm, report
from v2vpose.values import Decode, DepthFrame, FloatArray, Handedness, Hint, LabelledFrame, Pose


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found over a set of frames.

    Attributes:
        truth_mm: (N, K, 3) labels of the answered frames.
        left: (N,) whether they show a left hand.
        found_mm: by decoding, (N, M, K, 3) keypoints of every epoch checkpoint.
        unrefined_mm: (N, K, 3) argmax keypoints of the last one around the first reference points;
            None if not asked for.
        first_mm: (N, 3) first reference points.
        refined_mm: (N, 3) refined points, mean over the epoch checkpoints.
        confidence: (N, K) of the ensemble's keypoints.
        hand_right: (N,) whether handedness was found as labelled.
        unanswered: indices of frames in which nothing was found.
    """

    truth_mm: FloatArray
    left: NDArray[np.bool_]
    found_mm: dict[Decode, FloatArray]
    unrefined_mm: FloatArray | None
    first_mm: FloatArray
    refined_mm: FloatArray
    confidence: FloatArray
    hand_right: NDArray[np.bool_]
    unanswered: tuple[int, ...]


def measure(
    estimator: Estimator,
    frames: Iterable[LabelledFrame],
    options: Options | Callable[[LabelledFrame], Options] = DEFAULTS,
    *,
    unrefined: Estimator | None = None,
) -> Measured:
    """Estimate every frame with both decodings.

    Args:
        estimator: of the model version.
        frames: labelled.
        options: what it is told, the same for every frame or by frame.
        unrefined: the same version's last epoch checkpoint without its refiner.

    Raises:
        NothingToEstimateError: not one frame was answered.
    """
    truth, unanswered, poses, plain = [], [], [], []
    for index, labelled in enumerate(frames):
        frame = DepthFrame(labelled.depth_mm, labelled.intrinsics)
        told = options(labelled) if callable(options) else options
        try:
            first = estimator.estimate(frame, replace(told, decode=Decode.ARGMAX))
            known = _found_again(first, told)
            second = estimator.estimate(frame, replace(known, decode=Decode.SUBVOXEL))
            if unrefined is not None:
                plain.append(unrefined.estimate(frame, replace(known, decode=Decode.ARGMAX)))
        except NothingToEstimateError:
            unanswered.append(index)
            continue
        truth.append((labelled.keypoints_mm, labelled.handedness))
        poses.append({Decode.ARGMAX: first, Decode.SUBVOXEL: second})
    if not poses:
        raise NothingToEstimateError(f"none of {len(unanswered)} frames was answered")
    firsts = [both[Decode.ARGMAX] for both in poses]
    return Measured(
        truth_mm=np.stack([keypoints_mm for keypoints_mm, _ in truth]),
        left=np.array([handedness is Handedness.LEFT for _, handedness in truth]),
        found_mm={d: np.stack([_each_mm(both[d]) for both in poses]) for d in Decode},
        unrefined_mm=np.stack([pose.keypoints_mm for pose in plain]) if plain else None,
        first_mm=np.stack([pose.reference_point.xyz_mm for pose in firsts]),
        refined_mm=np.stack([pose.refined_point_mm for pose in firsts]),
        confidence=np.stack([pose.confidence for pose in firsts]),
        hand_right=np.array(
            [
                pose.handedness is None or pose.handedness[0] is handedness
                for pose, (_, handedness) in zip(firsts, truth, strict=True)
            ]
        ),
        unanswered=tuple(unanswered),
    )


def _found_again(pose: Pose, told: Options) -> Options:
    """Return options that lead to the same place and hand without looking for them again."""
    x, y, z = (float(c) for c in pose.reference_point.xyz_mm)
    hand = None if pose.handedness is None else pose.handedness[0]
    return replace(told, hint=Hint(reference_point_mm=(x, y, z)), handedness=hand)


def figures(measured: Measured) -> dict[str, Any]:
    """Return the figures of a manifest: single checkpoints and ensemble, both decodings.

    Distances are over answered frames; in shares of frames, an unanswered one is a failure.
    """
    truth_mm = measured.truth_mm
    answered = len(truth_mm) / (len(truth_mm) + len(measured.unanswered))  # share
    middle_mm = (truth_mm.min(axis=1) + truth_mm.max(axis=1)) / 2  # (N, 3)
    side_by_side: dict[str, Any] = {}
    for decode, each_mm in measured.found_mm.items():
        singles = [
            float(distances_mm(each_mm[:, m], truth_mm).mean()) for m in range(each_mm.shape[1])
        ]
        ensemble = asdict(report(each_mm.mean(axis=1), truth_mm, answered=answered))
        side_by_side[decode.value] = {
            "single_mm": [round(single, 3) for single in singles],
            "ensemble": _rounded(ensemble),
        }
    return {
        "frames": len(truth_mm) + len(measured.unanswered),
        "unanswered": len(measured.unanswered),
        "handedness_right_percent": round(float(measured.hand_right.mean() * answered * 100), 2),
        "reference_point_mm": {
            "first": _spread(measured.first_mm - middle_mm),
            "refined": _spread(measured.refined_mm - middle_mm),
        },
        **side_by_side,
    }


def _each_mm(pose: Pose) -> FloatArray:
    """Return (M, K, 3) keypoints of the members, by epoch; the mean of one that saw nothing."""
    return np.stack(
        [
            pose.members[epoch].keypoints_mm if epoch in pose.members else pose.keypoints_mm
            for epoch in pose.epochs
        ]
    )


def _spread(error_mm: FloatArray) -> dict[str, float]:
    distance_mm = np.linalg.norm(error_mm, axis=-1)
    return {
        "mean": round(float(distance_mm.mean()), 2),
        "median": round(float(np.median(distance_mm)), 2),
        "p95": round(float(np.percentile(distance_mm, 95)), 2),
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_rounded(inner) for inner in value]
    return value
