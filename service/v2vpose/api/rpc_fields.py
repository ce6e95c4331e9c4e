"""Protobuf options -> fields, which are checked where REST's are: in `fields`."""

from typing import Any, Final

from v2vpose.api.decode import Encoding, encoding_from_ros
from v2vpose.api.fields import EstimateFields
from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.api.smoothing import Smoothing
from v2vpose.errors import InvalidFieldError, UnsupportedEncodingError

_OPTIONAL: Final = ("model", "version", "depth_unit_mm", "side_mm", "targets")
_SMOOTHING: Final = ("min_cutoff_hz", "cutoff_per_speed")
_ENUMS: Final[dict[str, Any]] = {
    "handedness": pb.Handedness,
    "decode": pb.Decode,
    "aggregate": pb.Aggregate,
    "priority": pb.Priority,
}


def fields_of(options: pb.EstimateOptions) -> EstimateFields:
    """Return the checked fields.

    Raises:
        InvalidFieldError: a field is missing, malformed or out of range.
    """
    values: dict[str, Any] = {
        name: getattr(options, name) for name in _OPTIONAL if options.HasField(name)
    }
    if options.HasField("intrinsics"):
        camera = options.intrinsics
        values |= {name: getattr(camera, name) for name in ("fx_px", "fy_px", "cx_px", "cy_px")}
    values |= _hint(options)
    if options.hints:
        values["hints"] = tuple(_hint(hint) for hint in options.hints)
    values |= {
        name: _named(enum, getattr(options, name), f"{name.upper()}_").lower()
        for name, enum in _ENUMS.items()
        if getattr(options, name)
    }
    if options.epochs:
        values["epochs"] = tuple(options.epochs)
    if options.include:
        values["include"] = tuple(
            _named(pb.Include, value, "INCLUDE_").lower() for value in options.include
        )
    return EstimateFields.from_values(values)


def smoothing_of(start: pb.StreamStart) -> Smoothing | None:
    """Return how much a stream's keypoints shall be smoothed; None = not at all.

    Raises:
        InvalidFieldError: a value is out of range.
    """
    if not start.HasField("smoothing"):
        return None
    asked = start.smoothing
    return Smoothing(**{name: getattr(asked, name) for name in _SMOOTHING if asked.HasField(name)})


def encoding_of(depth: pb.DepthMap) -> Encoding:
    """Return how a depth map's bytes hold its pixels.

    Raises:
        InvalidFieldError: the encoding is given twice.
        UnsupportedEncodingError: it is missing or not known.
    """
    if depth.encoding and depth.ros_encoding:
        raise InvalidFieldError("give encoding or ros_encoding, not both")
    if depth.ros_encoding:
        return encoding_from_ros(depth.ros_encoding)
    name = _named(pb.Encoding, depth.encoding, "ENCODING_")
    if name not in Encoding.__members__:
        raise UnsupportedEncodingError(
            f"expected encoding as one of {', '.join(Encoding)}, found {name}"
        )
    return Encoding[name]


def _hint(message: pb.EstimateOptions | pb.Hint) -> dict[str, Any]:
    """Return the fields of a message's hint."""
    match message.WhichOneof("hint"):
        case "reference_point_mm":
            point = message.reference_point_mm
            return {"reference_point_mm": (point.x_mm, point.y_mm, point.z_mm)}
        case "roi_px":
            roi = message.roi_px
            return {"roi_px": (roi.u0, roi.v0, roi.u1, roi.v1)}
        case "range_mm":
            depth = message.range_mm
            return {"near_mm": depth.near_mm, "far_mm": depth.far_mm}
        case _:
            return {}


def _named(enum: Any, value: int, prefix: str) -> str:
    """Return an enum value's name without its prefix; unknown numbers stay numbers."""
    if value not in enum.values():
        return str(value)
    return str(enum.Name(value)).removeprefix(prefix)
