"""Values -> protobuf messages: what `answer` writes as JSON."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from v2vpose.api.answer import (
    MM_DECIMALS,
    PX_DECIMALS,
    SCORE_DECIMALS,
    STAGES,
    error_of,
    rounded,
    slices_of,
    warnings_of,
)
from v2vpose.api.fields import Include
from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.model_store import Manifest
from v2vpose.serving.pipeline import Estimate
from v2vpose.values import Decode, FloatArray, FoundBy, Handedness, Pose

_HANDEDNESS: Final = {
    Handedness.RIGHT: pb.HANDEDNESS_RIGHT,
    Handedness.LEFT: pb.HANDEDNESS_LEFT,
}
_DECODE: Final = {Decode.ARGMAX: pb.DECODE_ARGMAX, Decode.SUBVOXEL: pb.DECODE_SUBVOXEL}
_FOUND_BY: Final = {
    FoundBy.HINT: pb.FOUND_BY_HINT,
    FoundBy.THRESHOLD: pb.FOUND_BY_THRESHOLD,
    FoundBy.DETECTOR: pb.FOUND_BY_DETECTOR,
    FoundBy.TRACKING: pb.FOUND_BY_TRACKING,
}


def estimate_message(
    estimate: Estimate,
    manifest: Manifest,
    *,
    request_id: str,
    include: Collection[Include] = (),
    timing_s: Mapping[str, float] | None = None,
) -> pb.EstimateResponse:
    """Return what `answer.estimate_answer` returns, as a message."""

    def written(pose: Pose) -> pb.Pose:
        return pose_message(
            replace(estimate, pose=pose),
            manifest,
            request_id=request_id,
            include=include,
            timing_s=timing_s,
        )

    if not estimate.targets:
        return pb.EstimateResponse(pose=written(estimate.pose))
    return pb.EstimateResponse(
        targets=[
            pb.Target(pose=written(target))
            if isinstance(target, Pose)
            else pb.Target(error=pb.FrameError(**error_of(target)))
            for target in estimate.targets
        ]
    )


def pose_message(
    estimate: Estimate,
    manifest: Manifest,
    *,
    request_id: str,
    include: Collection[Include] = (),
    timing_s: Mapping[str, float] | None = None,
) -> pb.Pose:
    """Return the pose of one target as a message."""
    pose = estimate.pose
    message = pb.Pose(
        request_id=request_id,
        model=estimate.model,
        version=estimate.version,
        keypoints=_keypoints(pose, manifest),
        reference_point_mm=pb.ReferencePoint(
            first=_point(pose.reference_point.xyz_mm),
            refined=_point(pose.refined_point_mm),
            found_by=_FOUND_BY[pose.reference_point.found_by],
            score=round(float(pose.reference_point.score), SCORE_DECIMALS),
        ),
        cubic_box=pb.CubicBox(center_mm=_point(pose.refined_point_mm), side_mm=float(pose.side_mm)),
        ensemble=pb.Ensemble(epochs=pose.epochs, answered=pose.answered, degraded=pose.degraded),
        warnings=warnings_of(pose),
    )
    if pose.handedness is not None:
        message.handedness.label = _HANDEDNESS[pose.handedness[0]]
        message.handedness.score = round(float(pose.handedness[1]), SCORE_DECIMALS)
    if Include.MEMBERS in include:
        for epoch, member in pose.members.items():
            message.members.add(
                epoch=epoch,
                keypoints_mm=_points(member.keypoints_mm),
                confidence=rounded(member.confidence, SCORE_DECIMALS),
                refined_point_mm=_point(member.refined_point_mm),
            )
    if Include.HEATMAP_SLICES in include:
        for epoch, slices in slices_of(pose):
            message.heatmap_slices.add(epoch=epoch, shape=slices.shape, values=slices.tobytes())
    if Include.TIMING in include and timing_s is not None:
        for stage in STAGES:
            setattr(message.timing_ms, stage, round(1000 * timing_s.get(stage, 0.0), 3))
    return message


def model_message(manifest: Manifest, *, ready: bool) -> pb.Model:
    """Return what `answer.model_info` returns, as a message."""
    return pb.Model(
        model=manifest.model,
        version=manifest.version,
        description=manifest.description,
        subject=manifest.subject.value,
        handedness=_HANDEDNESS[manifest.handedness] if manifest.handedness else None,
        keypoints=[pb.KeypointInfo(name=k.name, meaning=k.meaning) for k in manifest.keypoints],
        skeleton=[pb.Edge(from_keypoint=a, to_keypoint=b) for a, b in manifest.skeleton],
        side_mm=manifest.side_mm,
        near_mm=manifest.near_mm,
        far_mm=manifest.far_mm,
        input_side=manifest.input_side,
        decode=_DECODE[manifest.decode],
        epochs=manifest.epoch_numbers,
        ready=ready,
        confidence_within_mm=manifest.confidence_within_mm,
    )


def _keypoints(pose: Pose, manifest: Manifest) -> list[pb.Keypoint]:
    return [
        pb.Keypoint(
            name=name,
            x_mm=xyz[0],
            y_mm=xyz[1],
            z_mm=xyz[2],
            u_px=uv[0] if uv[0] == uv[0] else None,  # NaN
            v_px=uv[1] if uv[1] == uv[1] else None,
            confidence=confidence,
            spread_mm=spread,
            in_view=in_view,
        )
        for name, xyz, uv, confidence, spread, in_view in zip(
            manifest.names,
            rounded(pose.keypoints_mm, MM_DECIMALS),
            rounded(pose.uv_px, PX_DECIMALS),
            rounded(pose.confidence, SCORE_DECIMALS),
            rounded(pose.spread_mm, MM_DECIMALS),
            pose.in_view.tolist(),
            strict=True,
        )
    ]


def _point(xyz_mm: FloatArray) -> pb.Point:
    return _points(xyz_mm[None])[0]


def _points(xyz_mm: FloatArray) -> list[pb.Point]:
    return [pb.Point(x_mm=x, y_mm=y, z_mm=z) for x, y, z in rounded(xyz_mm, MM_DECIMALS)]
