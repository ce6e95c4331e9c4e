"""A pose -> the fields of its answer, as plain values that `orjson` writes in microseconds."""

from base64 import b64encode
from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from v2vpose.api.fields import Include
from v2vpose.api.status import wire_status
from v2vpose.errors import PoseError
from v2vpose.model_store import Manifest
from v2vpose.serving.pipeline import Estimate
from v2vpose.values import FloatArray, Pose

STAGES: Final = (
    "decode", "locate", "queue", "refine", "voxelize", "forward", "peak", "aggregate", "total",
)  # fmt: skip
MM_DECIMALS: Final = 3
PX_DECIMALS: Final = 2
SCORE_DECIMALS: Final = 4
_COLUMN_SCALE: Final = 10.0 ** np.array(
    [*[MM_DECIMALS] * 3, *[PX_DECIMALS] * 2, SCORE_DECIMALS, MM_DECIMALS]
)  # of x, y, z, u, v, confidence, spread
_LOW_PEAK: Final = 0.2


def estimate_answer(
    estimate: Estimate,
    manifest: Manifest,
    *,
    request_id: str,
    include: Collection[Include] = (),
    timing_s: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Return the answer of `POST /v1/estimate`.

    Its shape is `schemas.EstimateAnswer`; `schemas.TargetsAnswer` if the caller asked for several.

    Args:
        estimate: what the pipeline answered.
        manifest: of the version that answered.
        request_id: of this request.
        include: what else the caller wants.
        timing_s: seconds by stage, of the whole request.
    """

    def written(pose: Pose) -> dict[str, Any]:
        answer = _pose_answer(pose, estimate, manifest, request_id, include)
        if Include.TIMING in include and timing_s is not None:
            answer["timing_ms"] = {
                stage: round(1000 * timing_s.get(stage, 0.0), 3) for stage in STAGES
            }
        return answer

    if not estimate.targets:
        return written(estimate.pose)
    return {
        "request_id": request_id,
        "targets": [
            {"pose": written(target)} if isinstance(target, Pose) else {"error": error_of(target)}
            for target in estimate.targets
        ],
    }


def error_of(error: PoseError) -> dict[str, Any]:
    """Return why a target has no pose."""
    return {
        "code": error.code,
        "detail": str(error),
        "is_retryable": wire_status(error).is_retryable,
    }


def _pose_answer(
    pose: Pose,
    estimate: Estimate,
    manifest: Manifest,
    request_id: str,
    include: Collection[Include],
) -> dict[str, Any]:
    refined = _point_mm(pose.refined_point_mm)
    answer: dict[str, Any] = {
        "request_id": request_id,
        "model": estimate.model,
        "version": estimate.version,
        "keypoints": _keypoints(pose, manifest),
        "skeleton": f"/v1/models/{estimate.model}",
        "handedness": None,
        "reference_point_mm": {
            "first": _point_mm(pose.reference_point.xyz_mm),
            "refined": refined,
            "found_by": pose.reference_point.found_by.value,
            "score": round(float(pose.reference_point.score), SCORE_DECIMALS),
        },
        "cubic_box": {"center_mm": refined, "side_mm": float(pose.side_mm)},
        "ensemble": {
            "epochs": list(pose.epochs),
            "answered": list(pose.answered),
            "degraded": pose.degraded,
        },
        "warnings": warnings_of(pose),
    }
    if pose.handedness is not None:
        label, score = pose.handedness
        answer["handedness"] = {
            "label": label.value,
            "score": round(float(score), SCORE_DECIMALS),
        }
    if Include.MEMBERS in include:
        answer["members"] = [
            {
                "epoch": epoch,
                "keypoints_mm": rounded(member.keypoints_mm, MM_DECIMALS),
                "confidence": rounded(member.confidence, SCORE_DECIMALS),
                "refined_point_mm": rounded(member.refined_point_mm, MM_DECIMALS),
            }
            for epoch, member in pose.members.items()
        ]
    if Include.HEATMAP_SLICES in include:
        answer["heatmap_slices"] = [
            {
                "epoch": epoch,
                "shape": list(slices.shape),
                "values": b64encode(slices.tobytes()).decode(),
            }
            for epoch, slices in slices_of(pose)
        ]
    return answer


def model_info(manifest: Manifest, *, ready: bool) -> dict[str, Any]:
    """Return a model version as `schemas.ModelInfo`."""
    return {
        "model": manifest.model,
        "version": manifest.version,
        "description": manifest.description,
        "subject": manifest.subject.value,
        "handedness": None if manifest.handedness is None else manifest.handedness.value,
        "keypoints": [{"name": k.name, "meaning": k.meaning} for k in manifest.keypoints],
        "skeleton": [list(edge) for edge in manifest.skeleton],
        "side_mm": manifest.side_mm,
        "near_mm": manifest.near_mm,
        "far_mm": manifest.far_mm,
        "input_side": manifest.input_side,
        "decode": manifest.decode.value,
        "epochs": list(manifest.epoch_numbers),
        "confidence_within_mm": manifest.confidence_within_mm,
        "ready": ready,
    }


def warnings_of(pose: Pose) -> list[str]:
    """Return what a careful reader of the answer should know."""
    texts = []
    if pose.degraded:
        silent = [e for e in pose.epochs if e not in pose.answered and e not in pose.empty]
        reasons = (("missing", silent), ("saw an empty box", pose.empty))
        why = "; ".join(f"{why}: {', '.join(map(str, some))}" for why, some in reasons if some)
        texts.append(
            f"{len(pose.answered)} of {len(pose.epochs)} epoch checkpoints answered; {why}"
        )
    hidden = pose.in_view.tolist().count(False)
    if hidden:
        texts.append(f"{hidden} of {len(pose.in_view)} keypoints lie outside the depth map")
    if pose.mean_peak < _LOW_PEAK:
        texts.append(
            f"the mean heatmap peak, {pose.mean_peak:.2f}, is low: "
            "the target may not be what it seems"
        )
    return texts


def slices_of(pose: Pose) -> list[tuple[int, NDArray[np.uint8]]]:
    """Return epoch and (K, 3, S, S) slices of every member that has them."""
    each = ((epoch, member.heatmap_slices) for epoch, member in pose.members.items())
    return [(epoch, slices) for epoch, slices in each if slices is not None]


def _keypoints(pose: Pose, manifest: Manifest) -> list[dict[str, Any]]:
    table = np.empty((len(pose.keypoints_mm), len(_COLUMN_SCALE)))  # (K, 7)
    table[:, :3] = pose.keypoints_mm
    table[:, 3:5] = pose.uv_px
    table[:, 5] = pose.confidence
    table[:, 6] = pose.spread_mm
    rows = (np.rint(table * _COLUMN_SCALE) / _COLUMN_SCALE).tolist()
    return [
        {
            "name": name,
            "x_mm": x,
            "y_mm": y,
            "z_mm": z,
            "u_px": u,  # NaN is written as null
            "v_px": v,
            "confidence": confidence,
            "spread_mm": spread,
            "in_view": in_view,
        }
        for name, (x, y, z, u, v, confidence, spread), in_view in zip(
            manifest.names, rows, pose.in_view.tolist(), strict=True
        )
    ]


def _point_mm(xyz_mm: FloatArray) -> list[float]:
    return [round(coordinate, MM_DECIMALS) for coordinate in xyz_mm.tolist()]


def rounded(values: FloatArray, decimals: int) -> list[Any]:
    """Return nested lists of floats with that many decimals."""
    nested: list[Any] = np.round(np.asarray(values, np.float64), decimals).tolist()
    return nested
