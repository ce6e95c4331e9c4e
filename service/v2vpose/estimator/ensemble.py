"""From the members' answers to one pose: the mean of their keypoints, and what it is worth."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from v2vpose.errors import NothingToEstimateError
from v2vpose.estimator.search import Target
from v2vpose.geometry.camera import mirrored_points, pixel_from_camera
from v2vpose.values import Aggregate, DepthFrame, MemberAnswer, Pose


def ensemble_pose(frame: DepthFrame, target: Target, answers: Mapping[int, MemberAnswer]) -> Pose:
    """Average the members' keypoints in camera millimetres (paper, section 8.3).

    The median, if asked for, is that of each coordinate. Spread and confidence are the same for
    both: how far the members lie from their mean, and how high their peaks are on average.
    A member whose box was empty saw nothing: whatever its net says is left out.

    Args:
        frame: the frame as it came.
        target: what was asked.
        answers: of the members that answered, by epoch; at least one.

    Raises:
        NothingToEstimateError: every box was empty.
    """
    ordered = {
        epoch: _unmirrored(answer) if target.is_mirrored else answer
        for epoch, answer in sorted(answers.items())
        if answer.occupied_vox
    }
    if not ordered:
        raise NothingToEstimateError(
            f"no readings inside the {target.crop.side_mm:g} mm cube around the reference point"
        )
    each_mm = np.stack([answer.keypoints_mm for answer in ordered.values()])  # (M, K, 3)
    mean_mm = each_mm.mean(axis=0)  # (K, 3)
    is_median = target.aggregate is Aggregate.MEDIAN
    keypoints_mm = np.median(each_mm, axis=0) if is_median else mean_mm
    distance_mm = np.linalg.norm(each_mm - mean_mm, axis=-1)  # (M, K)
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
        empty=tuple(epoch for epoch in sorted(answers) if epoch not in ordered),
        members=ordered,
    )


def _unmirrored(answer: MemberAnswer) -> MemberAnswer:
    return replace(
        answer,
        keypoints_mm=mirrored_points(answer.keypoints_mm),
        refined_point_mm=mirrored_points(answer.refined_point_mm),
    )
