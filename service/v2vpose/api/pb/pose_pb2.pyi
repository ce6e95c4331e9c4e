from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENCODING_UNSPECIFIED: _ClassVar[Encoding]
    ENCODING_PNG16: _ClassVar[Encoding]
    ENCODING_RAW_U16_LE: _ClassVar[Encoding]
    ENCODING_RAW_F32_LE_METRES: _ClassVar[Encoding]
    ENCODING_ZSTD_U16_LE: _ClassVar[Encoding]
    ENCODING_DELTA_ZSTD_U16: _ClassVar[Encoding]
    ENCODING_RVL: _ClassVar[Encoding]
    ENCODING_ROS_COMPRESSED_DEPTH_16UC1: _ClassVar[Encoding]
    ENCODING_ROS_COMPRESSED_DEPTH_32FC1: _ClassVar[Encoding]

class Handedness(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HANDEDNESS_UNSPECIFIED: _ClassVar[Handedness]
    HANDEDNESS_RIGHT: _ClassVar[Handedness]
    HANDEDNESS_LEFT: _ClassVar[Handedness]

class Decode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECODE_UNSPECIFIED: _ClassVar[Decode]
    DECODE_ARGMAX: _ClassVar[Decode]
    DECODE_SUBVOXEL: _ClassVar[Decode]

class Aggregate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AGGREGATE_UNSPECIFIED: _ClassVar[Aggregate]
    AGGREGATE_MEAN: _ClassVar[Aggregate]
    AGGREGATE_MEDIAN: _ClassVar[Aggregate]

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_NORMAL: _ClassVar[Priority]
    PRIORITY_BULK: _ClassVar[Priority]

class Include(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INCLUDE_UNSPECIFIED: _ClassVar[Include]
    INCLUDE_MEMBERS: _ClassVar[Include]
    INCLUDE_TIMING: _ClassVar[Include]
    INCLUDE_HEATMAP_SLICES: _ClassVar[Include]

class FoundBy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FOUND_BY_UNSPECIFIED: _ClassVar[FoundBy]
    FOUND_BY_HINT: _ClassVar[FoundBy]
    FOUND_BY_THRESHOLD: _ClassVar[FoundBy]
    FOUND_BY_DETECTOR: _ClassVar[FoundBy]
    FOUND_BY_TRACKING: _ClassVar[FoundBy]

class OnBacklog(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_BACKLOG_UNSPECIFIED: _ClassVar[OnBacklog]
    ON_BACKLOG_LATEST: _ClassVar[OnBacklog]
    ON_BACKLOG_EVERY: _ClassVar[OnBacklog]
ENCODING_UNSPECIFIED: Encoding
ENCODING_PNG16: Encoding
ENCODING_RAW_U16_LE: Encoding
ENCODING_RAW_F32_LE_METRES: Encoding
ENCODING_ZSTD_U16_LE: Encoding
ENCODING_DELTA_ZSTD_U16: Encoding
ENCODING_RVL: Encoding
ENCODING_ROS_COMPRESSED_DEPTH_16UC1: Encoding
ENCODING_ROS_COMPRESSED_DEPTH_32FC1: Encoding
HANDEDNESS_UNSPECIFIED: Handedness
HANDEDNESS_RIGHT: Handedness
HANDEDNESS_LEFT: Handedness
DECODE_UNSPECIFIED: Decode
DECODE_ARGMAX: Decode
DECODE_SUBVOXEL: Decode
AGGREGATE_UNSPECIFIED: Aggregate
AGGREGATE_MEAN: Aggregate
AGGREGATE_MEDIAN: Aggregate
PRIORITY_UNSPECIFIED: Priority
PRIORITY_NORMAL: Priority
PRIORITY_BULK: Priority
INCLUDE_UNSPECIFIED: Include
INCLUDE_MEMBERS: Include
INCLUDE_TIMING: Include
INCLUDE_HEATMAP_SLICES: Include
FOUND_BY_UNSPECIFIED: FoundBy
FOUND_BY_HINT: FoundBy
FOUND_BY_THRESHOLD: FoundBy
FOUND_BY_DETECTOR: FoundBy
FOUND_BY_TRACKING: FoundBy
ON_BACKLOG_UNSPECIFIED: OnBacklog
ON_BACKLOG_LATEST: OnBacklog
ON_BACKLOG_EVERY: OnBacklog

class Point(_message.Message):
    __slots__ = ("x_mm", "y_mm", "z_mm")
    X_MM_FIELD_NUMBER: _ClassVar[int]
    Y_MM_FIELD_NUMBER: _ClassVar[int]
    Z_MM_FIELD_NUMBER: _ClassVar[int]
    x_mm: float
    y_mm: float
    z_mm: float
    def __init__(self, x_mm: _Optional[float] = ..., y_mm: _Optional[float] = ..., z_mm: _Optional[float] = ...) -> None: ...

class Intrinsics(_message.Message):
    __slots__ = ("fx_px", "fy_px", "cx_px", "cy_px")
    FX_PX_FIELD_NUMBER: _ClassVar[int]
    FY_PX_FIELD_NUMBER: _ClassVar[int]
    CX_PX_FIELD_NUMBER: _ClassVar[int]
    CY_PX_FIELD_NUMBER: _ClassVar[int]
    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    def __init__(self, fx_px: _Optional[float] = ..., fy_px: _Optional[float] = ..., cx_px: _Optional[float] = ..., cy_px: _Optional[float] = ...) -> None: ...

class DepthMap(_message.Message):
    __slots__ = ("data", "encoding", "ros_encoding", "width", "height")
    DATA_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    ROS_ENCODING_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    encoding: Encoding
    ros_encoding: str
    width: int
    height: int
    def __init__(self, data: _Optional[bytes] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., ros_encoding: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class RegionOfInterest(_message.Message):
    __slots__ = ("u0", "v0", "u1", "v1")
    U0_FIELD_NUMBER: _ClassVar[int]
    V0_FIELD_NUMBER: _ClassVar[int]
    U1_FIELD_NUMBER: _ClassVar[int]
    V1_FIELD_NUMBER: _ClassVar[int]
    u0: int
    v0: int
    u1: int
    v1: int
    def __init__(self, u0: _Optional[int] = ..., v0: _Optional[int] = ..., u1: _Optional[int] = ..., v1: _Optional[int] = ...) -> None: ...

class DepthRange(_message.Message):
    __slots__ = ("near_mm", "far_mm")
    NEAR_MM_FIELD_NUMBER: _ClassVar[int]
    FAR_MM_FIELD_NUMBER: _ClassVar[int]
    near_mm: float
    far_mm: float
    def __init__(self, near_mm: _Optional[float] = ..., far_mm: _Optional[float] = ...) -> None: ...

class Hint(_message.Message):
    __slots__ = ("reference_point_mm", "roi_px", "range_mm")
    REFERENCE_POINT_MM_FIELD_NUMBER: _ClassVar[int]
    ROI_PX_FIELD_NUMBER: _ClassVar[int]
    RANGE_MM_FIELD_NUMBER: _ClassVar[int]
    reference_point_mm: Point
    roi_px: RegionOfInterest
    range_mm: DepthRange
    def __init__(self, reference_point_mm: _Optional[_Union[Point, _Mapping]] = ..., roi_px: _Optional[_Union[RegionOfInterest, _Mapping]] = ..., range_mm: _Optional[_Union[DepthRange, _Mapping]] = ...) -> None: ...

class EstimateOptions(_message.Message):
    __slots__ = ("model", "version", "intrinsics", "depth_unit_mm", "reference_point_mm", "roi_px", "range_mm", "side_mm", "handedness", "decode", "epochs", "include", "aggregate", "priority", "targets", "hints")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    INTRINSICS_FIELD_NUMBER: _ClassVar[int]
    DEPTH_UNIT_MM_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_POINT_MM_FIELD_NUMBER: _ClassVar[int]
    ROI_PX_FIELD_NUMBER: _ClassVar[int]
    RANGE_MM_FIELD_NUMBER: _ClassVar[int]
    SIDE_MM_FIELD_NUMBER: _ClassVar[int]
    HANDEDNESS_FIELD_NUMBER: _ClassVar[int]
    DECODE_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_FIELD_NUMBER: _ClassVar[int]
    AGGREGATE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    HINTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    intrinsics: Intrinsics
    depth_unit_mm: float
    reference_point_mm: Point
    roi_px: RegionOfInterest
    range_mm: DepthRange
    side_mm: float
    handedness: Handedness
    decode: Decode
    epochs: _containers.RepeatedScalarFieldContainer[int]
    include: _containers.RepeatedScalarFieldContainer[Include]
    aggregate: Aggregate
    priority: Priority
    targets: int
    hints: _containers.RepeatedCompositeFieldContainer[Hint]
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., intrinsics: _Optional[_Union[Intrinsics, _Mapping]] = ..., depth_unit_mm: _Optional[float] = ..., reference_point_mm: _Optional[_Union[Point, _Mapping]] = ..., roi_px: _Optional[_Union[RegionOfInterest, _Mapping]] = ..., range_mm: _Optional[_Union[DepthRange, _Mapping]] = ..., side_mm: _Optional[float] = ..., handedness: _Optional[_Union[Handedness, str]] = ..., decode: _Optional[_Union[Decode, str]] = ..., epochs: _Optional[_Iterable[int]] = ..., include: _Optional[_Iterable[_Union[Include, str]]] = ..., aggregate: _Optional[_Union[Aggregate, str]] = ..., priority: _Optional[_Union[Priority, str]] = ..., targets: _Optional[int] = ..., hints: _Optional[_Iterable[_Union[Hint, _Mapping]]] = ...) -> None: ...

class EstimateRequest(_message.Message):
    __slots__ = ("depth", "options")
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    depth: DepthMap
    options: EstimateOptions
    def __init__(self, depth: _Optional[_Union[DepthMap, _Mapping]] = ..., options: _Optional[_Union[EstimateOptions, _Mapping]] = ...) -> None: ...

class EstimateResponse(_message.Message):
    __slots__ = ("pose", "targets")
    POSE_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    pose: Pose
    targets: _containers.RepeatedCompositeFieldContainer[Target]
    def __init__(self, pose: _Optional[_Union[Pose, _Mapping]] = ..., targets: _Optional[_Iterable[_Union[Target, _Mapping]]] = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("pose", "error")
    POSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    pose: Pose
    error: FrameError
    def __init__(self, pose: _Optional[_Union[Pose, _Mapping]] = ..., error: _Optional[_Union[FrameError, _Mapping]] = ...) -> None: ...

class EstimateStreamRequest(_message.Message):
    __slots__ = ("start", "frame")
    START_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    start: StreamStart
    frame: Frame
    def __init__(self, start: _Optional[_Union[StreamStart, _Mapping]] = ..., frame: _Optional[_Union[Frame, _Mapping]] = ...) -> None: ...

class StreamStart(_message.Message):
    __slots__ = ("options", "on_backlog", "localise_every_frame", "smoothing")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    ON_BACKLOG_FIELD_NUMBER: _ClassVar[int]
    LOCALISE_EVERY_FRAME_FIELD_NUMBER: _ClassVar[int]
    SMOOTHING_FIELD_NUMBER: _ClassVar[int]
    options: EstimateOptions
    on_backlog: OnBacklog
    localise_every_frame: bool
    smoothing: Smoothing
    def __init__(self, options: _Optional[_Union[EstimateOptions, _Mapping]] = ..., on_backlog: _Optional[_Union[OnBacklog, str]] = ..., localise_every_frame: _Optional[bool] = ..., smoothing: _Optional[_Union[Smoothing, _Mapping]] = ...) -> None: ...

class Smoothing(_message.Message):
    __slots__ = ("min_cutoff_hz", "cutoff_per_speed")
    MIN_CUTOFF_HZ_FIELD_NUMBER: _ClassVar[int]
    CUTOFF_PER_SPEED_FIELD_NUMBER: _ClassVar[int]
    min_cutoff_hz: float
    cutoff_per_speed: float
    def __init__(self, min_cutoff_hz: _Optional[float] = ..., cutoff_per_speed: _Optional[float] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("sequence", "capture_time_ns", "depth")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    capture_time_ns: int
    depth: DepthMap
    def __init__(self, sequence: _Optional[int] = ..., capture_time_ns: _Optional[int] = ..., depth: _Optional[_Union[DepthMap, _Mapping]] = ...) -> None: ...

class EstimateStreamResponse(_message.Message):
    __slots__ = ("sequence", "capture_time_ns", "dropped", "dropped_total", "pose", "error")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_TOTAL_FIELD_NUMBER: _ClassVar[int]
    POSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    capture_time_ns: int
    dropped: int
    dropped_total: int
    pose: Pose
    error: FrameError
    def __init__(self, sequence: _Optional[int] = ..., capture_time_ns: _Optional[int] = ..., dropped: _Optional[int] = ..., dropped_total: _Optional[int] = ..., pose: _Optional[_Union[Pose, _Mapping]] = ..., error: _Optional[_Union[FrameError, _Mapping]] = ...) -> None: ...

class FrameError(_message.Message):
    __slots__ = ("code", "detail", "is_retryable")
    CODE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    IS_RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    code: str
    detail: str
    is_retryable: bool
    def __init__(self, code: _Optional[str] = ..., detail: _Optional[str] = ..., is_retryable: _Optional[bool] = ...) -> None: ...

class Pose(_message.Message):
    __slots__ = ("request_id", "model", "version", "keypoints", "handedness", "reference_point_mm", "cubic_box", "ensemble", "warnings", "members", "timing_ms", "heatmap_slices")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KEYPOINTS_FIELD_NUMBER: _ClassVar[int]
    HANDEDNESS_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_POINT_MM_FIELD_NUMBER: _ClassVar[int]
    CUBIC_BOX_FIELD_NUMBER: _ClassVar[int]
    ENSEMBLE_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    TIMING_MS_FIELD_NUMBER: _ClassVar[int]
    HEATMAP_SLICES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model: str
    version: str
    keypoints: _containers.RepeatedCompositeFieldContainer[Keypoint]
    handedness: HandednessScore
    reference_point_mm: ReferencePoint
    cubic_box: CubicBox
    ensemble: Ensemble
    warnings: _containers.RepeatedScalarFieldContainer[str]
    members: _containers.RepeatedCompositeFieldContainer[Member]
    timing_ms: Timing
    heatmap_slices: _containers.RepeatedCompositeFieldContainer[HeatmapSlices]
    def __init__(self, request_id: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., keypoints: _Optional[_Iterable[_Union[Keypoint, _Mapping]]] = ..., handedness: _Optional[_Union[HandednessScore, _Mapping]] = ..., reference_point_mm: _Optional[_Union[ReferencePoint, _Mapping]] = ..., cubic_box: _Optional[_Union[CubicBox, _Mapping]] = ..., ensemble: _Optional[_Union[Ensemble, _Mapping]] = ..., warnings: _Optional[_Iterable[str]] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., timing_ms: _Optional[_Union[Timing, _Mapping]] = ..., heatmap_slices: _Optional[_Iterable[_Union[HeatmapSlices, _Mapping]]] = ...) -> None: ...

class Keypoint(_message.Message):
    __slots__ = ("name", "x_mm", "y_mm", "z_mm", "u_px", "v_px", "confidence", "spread_mm", "in_view")
    NAME_FIELD_NUMBER: _ClassVar[int]
    X_MM_FIELD_NUMBER: _ClassVar[int]
    Y_MM_FIELD_NUMBER: _ClassVar[int]
    Z_MM_FIELD_NUMBER: _ClassVar[int]
    U_PX_FIELD_NUMBER: _ClassVar[int]
    V_PX_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    SPREAD_MM_FIELD_NUMBER: _ClassVar[int]
    IN_VIEW_FIELD_NUMBER: _ClassVar[int]
    name: str
    x_mm: float
    y_mm: float
    z_mm: float
    u_px: float
    v_px: float
    confidence: float
    spread_mm: float
    in_view: bool
    def __init__(self, name: _Optional[str] = ..., x_mm: _Optional[float] = ..., y_mm: _Optional[float] = ..., z_mm: _Optional[float] = ..., u_px: _Optional[float] = ..., v_px: _Optional[float] = ..., confidence: _Optional[float] = ..., spread_mm: _Optional[float] = ..., in_view: _Optional[bool] = ...) -> None: ...

class HandednessScore(_message.Message):
    __slots__ = ("label", "score")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    label: Handedness
    score: float
    def __init__(self, label: _Optional[_Union[Handedness, str]] = ..., score: _Optional[float] = ...) -> None: ...

class ReferencePoint(_message.Message):
    __slots__ = ("first", "refined", "found_by", "score")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    REFINED_FIELD_NUMBER: _ClassVar[int]
    FOUND_BY_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    first: Point
    refined: Point
    found_by: FoundBy
    score: float
    def __init__(self, first: _Optional[_Union[Point, _Mapping]] = ..., refined: _Optional[_Union[Point, _Mapping]] = ..., found_by: _Optional[_Union[FoundBy, str]] = ..., score: _Optional[float] = ...) -> None: ...

class CubicBox(_message.Message):
    __slots__ = ("center_mm", "side_mm")
    CENTER_MM_FIELD_NUMBER: _ClassVar[int]
    SIDE_MM_FIELD_NUMBER: _ClassVar[int]
    center_mm: Point
    side_mm: float
    def __init__(self, center_mm: _Optional[_Union[Point, _Mapping]] = ..., side_mm: _Optional[float] = ...) -> None: ...

class Ensemble(_message.Message):
    __slots__ = ("epochs", "answered", "degraded")
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    epochs: _containers.RepeatedScalarFieldContainer[int]
    answered: _containers.RepeatedScalarFieldContainer[int]
    degraded: bool
    def __init__(self, epochs: _Optional[_Iterable[int]] = ..., answered: _Optional[_Iterable[int]] = ..., degraded: _Optional[bool] = ...) -> None: ...

class Member(_message.Message):
    __slots__ = ("epoch", "keypoints_mm", "confidence", "refined_point_mm")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    KEYPOINTS_MM_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    REFINED_POINT_MM_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    keypoints_mm: _containers.RepeatedCompositeFieldContainer[Point]
    confidence: _containers.RepeatedScalarFieldContainer[float]
    refined_point_mm: Point
    def __init__(self, epoch: _Optional[int] = ..., keypoints_mm: _Optional[_Iterable[_Union[Point, _Mapping]]] = ..., confidence: _Optional[_Iterable[float]] = ..., refined_point_mm: _Optional[_Union[Point, _Mapping]] = ...) -> None: ...

class HeatmapSlices(_message.Message):
    __slots__ = ("epoch", "shape", "values")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    shape: _containers.RepeatedScalarFieldContainer[int]
    values: bytes
    def __init__(self, epoch: _Optional[int] = ..., shape: _Optional[_Iterable[int]] = ..., values: _Optional[bytes] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("decode", "locate", "queue", "refine", "voxelize", "forward", "peak", "aggregate", "total")
    DECODE_FIELD_NUMBER: _ClassVar[int]
    LOCATE_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    REFINE_FIELD_NUMBER: _ClassVar[int]
    VOXELIZE_FIELD_NUMBER: _ClassVar[int]
    FORWARD_FIELD_NUMBER: _ClassVar[int]
    PEAK_FIELD_NUMBER: _ClassVar[int]
    AGGREGATE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    decode: float
    locate: float
    queue: float
    refine: float
    voxelize: float
    forward: float
    peak: float
    aggregate: float
    total: float
    def __init__(self, decode: _Optional[float] = ..., locate: _Optional[float] = ..., queue: _Optional[float] = ..., refine: _Optional[float] = ..., voxelize: _Optional[float] = ..., forward: _Optional[float] = ..., peak: _Optional[float] = ..., aggregate: _Optional[float] = ..., total: _Optional[float] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("model", "version", "description", "subject", "handedness", "keypoints", "skeleton", "side_mm", "near_mm", "far_mm", "input_side", "decode", "epochs", "ready", "confidence_within_mm")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    HANDEDNESS_FIELD_NUMBER: _ClassVar[int]
    KEYPOINTS_FIELD_NUMBER: _ClassVar[int]
    SKELETON_FIELD_NUMBER: _ClassVar[int]
    SIDE_MM_FIELD_NUMBER: _ClassVar[int]
    NEAR_MM_FIELD_NUMBER: _ClassVar[int]
    FAR_MM_FIELD_NUMBER: _ClassVar[int]
    INPUT_SIDE_FIELD_NUMBER: _ClassVar[int]
    DECODE_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_WITHIN_MM_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    description: str
    subject: str
    handedness: Handedness
    keypoints: _containers.RepeatedCompositeFieldContainer[KeypointInfo]
    skeleton: _containers.RepeatedCompositeFieldContainer[Edge]
    side_mm: float
    near_mm: float
    far_mm: float
    input_side: int
    decode: Decode
    epochs: _containers.RepeatedScalarFieldContainer[int]
    ready: bool
    confidence_within_mm: float
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., description: _Optional[str] = ..., subject: _Optional[str] = ..., handedness: _Optional[_Union[Handedness, str]] = ..., keypoints: _Optional[_Iterable[_Union[KeypointInfo, _Mapping]]] = ..., skeleton: _Optional[_Iterable[_Union[Edge, _Mapping]]] = ..., side_mm: _Optional[float] = ..., near_mm: _Optional[float] = ..., far_mm: _Optional[float] = ..., input_side: _Optional[int] = ..., decode: _Optional[_Union[Decode, str]] = ..., epochs: _Optional[_Iterable[int]] = ..., ready: _Optional[bool] = ..., confidence_within_mm: _Optional[float] = ...) -> None: ...

class KeypointInfo(_message.Message):
    __slots__ = ("name", "meaning")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MEANING_FIELD_NUMBER: _ClassVar[int]
    name: str
    meaning: str
    def __init__(self, name: _Optional[str] = ..., meaning: _Optional[str] = ...) -> None: ...

class Edge(_message.Message):
    __slots__ = ("from_keypoint", "to_keypoint")
    FROM_KEYPOINT_FIELD_NUMBER: _ClassVar[int]
    TO_KEYPOINT_FIELD_NUMBER: _ClassVar[int]
    from_keypoint: int
    to_keypoint: int
    def __init__(self, from_keypoint: _Optional[int] = ..., to_keypoint: _Optional[int] = ...) -> None: ...
