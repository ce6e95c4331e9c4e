"""Nouns with units. Camera frame everywhere: x right, y down, z forward, millimetres.

Pixel (0, 0) is the centre of the first pixel; u runs right, v runs down. Depth 0 means "no
reading". Values are checked where they are built, so no later line has to check again.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from v2vpose.errors import InvalidDepthMapError, InvalidFieldError

FloatArray: TypeAlias = NDArray[np.floating[Any]]
DepthArray: TypeAlias = NDArray[np.float32]


FARTHEST_MM: Final = 1e5
"""Nothing is estimated farther away than this along any axis."""

_INFINITY_BITS: Final = 0x7F800000  # of a float32; what is larger is NaN, or has the sign bit

MAX_INTRINSIC_PX: Final = 1e5
"""Larger focal lengths and principal points are mistakes."""


class Handedness(StrEnum):
    """Which hand it is, from the point of view of its owner."""

    RIGHT = "right"
    LEFT = "left"

    @property
    def other(self) -> "Handedness":
        """The other hand."""
        return Handedness.LEFT if self is Handedness.RIGHT else Handedness.RIGHT


class Decode(StrEnum):
    """How a heatmap becomes a point: the paper's argmax, or its sub-voxel refinement."""

    ARGMAX = "argmax"
    SUBVOXEL = "subvoxel"


class Aggregate(StrEnum):
    """How the members' keypoints become one: the paper's mean, or the median of each coordinate."""

    MEAN = "mean"
    MEDIAN = "median"


class FoundBy(StrEnum):
    """Where a first reference point came from."""

    HINT = "hint"
    THRESHOLD = "threshold"
    DETECTOR = "detector"
    TRACKING = "tracking"


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """Pinhole camera. Focal lengths and principal point in pixels of the depth map.

    Raises:
        InvalidFieldError: a value is not finite, or a focal length is not positive.
    """

    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float

    def __post_init__(self) -> None:
        for name in ("fx_px", "fy_px", "cx_px", "cy_px"):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise InvalidFieldError(f"{name} must be a finite number, got {value}")
            if abs(value) > MAX_INTRINSIC_PX:
                raise InvalidFieldError(f"{name} must be within {MAX_INTRINSIC_PX:g}, got {value}")
        for name in ("fx_px", "fy_px"):
            if getattr(self, name) <= 0:
                raise InvalidFieldError(
                    f"{name} must be > 0 (y points down here: "
                    f"negate fy of y-up data), got {getattr(self, name)}"
                )


@dataclass(frozen=True, slots=True)
class DepthFrame:
    """One depth map and the camera that took it.

    Attributes:
        depth_mm: (H, W) float32, distance along +z (not along the ray); 0 = no reading.
        intrinsics: the camera.

    Raises:
        InvalidDepthMapError: not two-dimensional, empty, negative or not finite.
    """

    depth_mm: DepthArray
    intrinsics: Intrinsics

    def __post_init__(self) -> None:
        depth = self.depth_mm
        if depth.ndim != 2 or depth.size == 0:
            raise InvalidDepthMapError(f"a depth map is (rows, cols), got shape {depth.shape}")
        if depth.dtype != np.float32:
            raise InvalidDepthMapError(f"depth_mm must be float32, got {depth.dtype}")
        if depth.flags.c_contiguous and depth.view(np.uint32).max() < _INFINITY_BITS:
            return  # as bit patterns: neither negative, nor infinite, nor NaN; one look each
        nearest, farthest = float(depth.min()), float(depth.max())
        if not (math.isfinite(nearest) and math.isfinite(farthest)):
            raise InvalidDepthMapError("depth holds NaN or infinity; write 0 where there is none")
        if nearest < 0:
            raise InvalidDepthMapError(f"depth must be >= 0 mm, found {nearest:g} mm")

    @property
    def hw(self) -> tuple[int, int]:
        """(rows, cols)."""
        rows, cols = self.depth_mm.shape
        return rows, cols


class LabelledFrame(Protocol):
    """What a data set yields: a depth map and the truth about its target."""

    @property
    def depth_mm(self) -> DepthArray:
        """(H, W) float32, 0 = no reading."""
        ...

    @property
    def intrinsics(self) -> Intrinsics:
        """The camera."""
        ...

    @property
    def keypoints_mm(self) -> NDArray[np.float64]:
        """(K, 3) camera frame."""
        ...

    @property
    def handedness(self) -> Handedness:
        """Which hand it is."""
        ...


@dataclass(frozen=True, slots=True)
class Hint:
    """What the caller knows of the target's place; at most one of the three.

    Attributes:
        reference_point_mm: (x, y, z) near the target's centre.
        roi_px: (u0, v0, u1, v1), the target lies inside; u1 and v1 are exclusive.
        range_mm: (near, far), the target's surface lies between.

    Raises:
        InvalidFieldError: more than one is given, or a value is out of order.
    """

    reference_point_mm: tuple[float, float, float] | None = None
    roi_px: tuple[int, int, int, int] | None = None
    range_mm: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        given = [n for n in ("reference_point_mm", "roi_px", "range_mm") if getattr(self, n)]
        if len(given) > 1:
            raise InvalidFieldError(f"give one hint, not {' and '.join(given)}")
        point = self.reference_point_mm
        if point is not None and not (all(map(math.isfinite, point)) and point[2] > 0):
            raise InvalidFieldError(f"reference_point_mm must be finite with z > 0, got {point}")
        if point is not None and max(map(abs, point)) > FARTHEST_MM:
            raise InvalidFieldError(
                f"reference_point_mm must be within {FARTHEST_MM:g} mm, got {point}"
            )
        if self.roi_px is not None:
            u0, v0, u1, v1 = self.roi_px
            if not (u0 < u1 and v0 < v1):
                raise InvalidFieldError(f"roi_px must be u0 < u1 and v0 < v1, got {self.roi_px}")
        if self.range_mm is not None:
            near, far = self.range_mm
            if not (math.isfinite(near) and math.isfinite(far) and 0 <= near < far):
                raise InvalidFieldError(f"need 0 <= near_mm < far_mm, got {self.range_mm}")


@dataclass(frozen=True, slots=True)
class ReferencePoint:
    """A point near the target's centre (paper, section 4): (3,) mm, its origin, 0..1 trust."""

    xyz_mm: FloatArray
    found_by: FoundBy
    score: float


@dataclass(frozen=True, slots=True)
class TargetCrop:
    """All that crosses to a member: the depth around one target, and where to look in it.

    Attributes:
        depth_mm: (h, w) float32 window of the depth map, a copy or a view; 0 = no reading.
        intrinsics: the camera, its principal point shifted into the window.
        reference_point_mm: (3,) the first reference point.
        side_mm: edge of the cubic box to voxelize.
        wants_slices: whether the answer shall hold slices of the heatmaps.
    """

    depth_mm: DepthArray
    intrinsics: Intrinsics
    reference_point_mm: FloatArray
    side_mm: float
    wants_slices: bool = False


@dataclass(frozen=True, slots=True)
class MemberAnswer:
    """What one epoch checkpoint says of one crop.

    Attributes:
        keypoints_mm: (K, 3) camera frame.
        confidence: (K,) peak height of each heatmap, clipped to 0..1; not a probability.
        refined_point_mm: (3,) centre of the cubic box that was voxelized.
        occupied_vox: how many voxels of the box were occupied; 0 = there was nothing to see.
        heatmap_slices: (K, 3, S, S) see `heatmaps.slices_through`; None unless the crop wants them.
    """

    keypoints_mm: FloatArray
    confidence: FloatArray
    refined_point_mm: FloatArray
    occupied_vox: int
    heatmap_slices: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class Pose:
    """One target's keypoints, the mean (or median) over the epoch checkpoints that answered.

    Attributes:
        keypoints_mm: (K, 3) camera frame, millimetres.
        uv_px: (K, 2) projection into the depth map.
        confidence: (K,) 0..1, that the keypoint is right, by the model's calibration; without one
            the members' mean heatmap peak.
        mean_peak: 0..1, heatmap peak, mean over members and keypoints: how sure the nets are of the
            whole, on the scale that tracking and warnings go by.
        spread_mm: (K,) root mean square distance of the members from their mean.
        in_view: (K,) whether the keypoint projects inside the depth map.
        handedness: label and score 0..1, or None for subjects without one.
        reference_point: the first reference point.
        refined_point_mm: (3,) mean of the members' refined points.
        side_mm: edge of the cubic box.
        epochs: the epoch checkpoints asked.
        answered: those whose answers made up the pose.
        empty: those that saw an empty box, and so have nothing to say.
        members: answer of each member in `answered`, by epoch, in camera millimetres.
    """

    keypoints_mm: FloatArray
    uv_px: FloatArray
    confidence: FloatArray
    mean_peak: float
    spread_mm: FloatArray
    in_view: NDArray[np.bool_]
    handedness: tuple[Handedness, float] | None
    reference_point: ReferencePoint
    refined_point_mm: FloatArray
    side_mm: float
    epochs: tuple[int, ...]
    answered: tuple[int, ...]
    empty: tuple[int, ...] = ()
    members: dict[int, MemberAnswer] = field(default_factory=dict)

    @property
    def degraded(self) -> bool:
        """Whether fewer epoch checkpoints answered than were asked."""
        return len(self.answered) < len(self.epochs)
