"""The shapes of the answers, for OpenAPI. The hot path writes JSON directly (`answer`).

A test validates its output against these, so the two cannot drift apart.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from v2vpose.values import Decode, FoundBy, Handedness

Point = tuple[float, float, float]
CONFIDENCE = (
    "Probability that it is right, within the model's confidence_within_mm; of a model without "
    "that, the mean height of the heatmap peaks."
)


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class KeypointAnswer(_Shape):
    """One keypoint. Camera frame: x right, y down, z forward."""

    name: str
    x_mm: float
    y_mm: float
    z_mm: float
    u_px: float | None = Field(description="Projection into the depth map; null behind the camera.")
    v_px: float | None
    confidence: float = Field(ge=0, le=1, description=CONFIDENCE)
    spread_mm: float = Field(ge=0, description="RMS distance of the epoch checkpoints' answers.")
    in_view: bool = Field(description="Whether it projects inside the depth map.")


class HandednessAnswer(_Shape):
    """Which hand it is, from its owner's view."""

    label: Handedness
    score: float = Field(ge=0, le=1)


class ReferencePointAnswer(_Shape):
    """Where the target was found."""

    first: Point = Field(description="First reference point x, y, z, mm.")
    refined: Point = Field(description="Mean of the epoch checkpoints' refined points, mm.")
    found_by: FoundBy
    score: float


class CubicBoxAnswer(_Shape):
    """What the nets looked at."""

    center_mm: Point
    side_mm: float


class EnsembleAnswer(_Shape):
    """Which epoch checkpoints were asked, and which answered."""

    epochs: list[int]
    answered: list[int]
    degraded: bool = Field(description="Fewer answered than were asked.")


class MemberAnswerShape(_Shape):
    """One epoch checkpoint's own answer; `include=members`."""

    epoch: int
    keypoints_mm: list[Point]
    confidence: list[float] = Field(description="Heights of its heatmap peaks.")
    refined_point_mm: Point


class HeatmapSlices(_Shape):
    """What one epoch checkpoint saw; `include=heatmap_slices`.

    Every heatmap is cut three times through its peak. The cells fill the member's cubic box evenly,
    which is centred on its refined point (`include=members`).
    """

    epoch: int
    shape: list[int] = Field(description="Keypoints, 3, S, S.")
    values: str = Field(
        description="Base64 of unsigned bytes, 0..255 for 0..1: for each keypoint rows y, columns "
        "x; rows z, columns x; rows z, columns y."
    )


class TimingAnswer(_Shape):
    """Where the time went, milliseconds; `include=timing`."""

    decode: float = 0
    locate: float = 0
    queue: float = 0
    refine: float = 0
    voxelize: float = 0
    forward: float = 0
    peak: float = 0
    aggregate: float = 0
    total: float = 0


class EstimateAnswer(_Shape):
    """One target's pose."""

    request_id: str
    model: str
    version: str
    keypoints: list[KeypointAnswer]
    skeleton: str = Field(description="Where the model's skeleton edges are: its model page.")
    handedness: HandednessAnswer | None
    reference_point_mm: ReferencePointAnswer
    cubic_box: CubicBoxAnswer
    ensemble: EnsembleAnswer
    warnings: list[str]
    members: list[MemberAnswerShape] | None = None
    timing_ms: TimingAnswer | None = None
    heatmap_slices: list[HeatmapSlices] | None = None


class TargetError(_Shape):
    """Why a target has no pose."""

    code: str
    detail: str
    is_retryable: bool


class TargetAnswer(_Shape):
    """One of several targets: its pose, or why it has none."""

    pose: EstimateAnswer | None = None
    error: TargetError | None = None


class TargetsAnswer(_Shape):
    """Several targets: in the order of the hints, else the surest first."""

    request_id: str
    targets: list[TargetAnswer]


class KeypointInfo(_Shape):
    """A keypoint's name, and exactly which place of the body it is."""

    name: str
    meaning: str


class ModelInfo(_Shape):
    """A model version being served."""

    model: str
    version: str
    description: str
    subject: Literal["hand", "body"]
    handedness: Handedness | None
    keypoints: list[KeypointInfo]
    skeleton: list[tuple[int, int]] = Field(description="Edges by index into keypoints.")
    side_mm: float
    near_mm: float
    far_mm: float
    input_side: int = Field(description="Voxels a side of the cubic box.")
    decode: Decode
    epochs: list[int]
    confidence_within_mm: float | None = Field(
        description="A keypoint's confidence is the probability that it is this near to the truth;"
        " null: it is the mean height of the heatmap peaks."
    )
    ready: bool


class ModelsAnswer(_Shape):
    """Every model being served."""

    default: str | None
    models: list[ModelInfo]


class HealthAnswer(_Shape):
    """Whether the service is alive, or ready."""

    status: str


class Problem(_Shape):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
