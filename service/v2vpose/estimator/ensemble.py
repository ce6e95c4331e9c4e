"""From the members' answers to one pose: the mean of their keypoints, and what it is worth."""

from collections.abc import Mapping
from dataclasses import replace

from v2vpose.errors import NothingToEstimateError
from v2vpose.estimator.aggregated import aggregated
from v2vpose.estimator.search import Target
from v2vpose.geometry.camera import mirrored_points
from v2vpose.heatmaps import mirrored_slices
from v2vpose.values import DepthFrame, MemberAnswer, Pose


def ensemble_pose(frame: DepthFrame, target: Target, answers: Mapping[int, MemberAnswer]) -> Pose:
    """Average the members' keypoints in camera millimetres (paper, section 8.3).

    The median, if asked for, is that of each coordinate. Spread and confidence are the same for
    both: how far the members lie from their mean, and how high their peaks are on average, or,
    where that was calibrated, how probable it is that the keypoint is right.
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
    together = aggregated(tuple(ordered.values()), frame.intrinsics, frame.hw, target.aggregate)
    peaks, calibration = together.confidence, target.calibration
    return Pose(
        keypoints_mm=together.keypoints_mm,
        uv_px=together.uv_px,
        confidence=peaks if calibration is None else calibration.confidence(peaks),
        mean_peak=float(peaks.mean()),
        spread_mm=together.spread_mm,
        in_view=together.in_view,
        handedness=target.handedness,
        reference_point=target.reference_point,
        refined_point_mm=together.refined_point_mm,
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
        heatmap_slices=None
        if answer.heatmap_slices is None
        else mirrored_slices(answer.heatmap_slices),
    )
