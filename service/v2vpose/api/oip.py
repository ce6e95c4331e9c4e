"""The Open Inference Protocol, version 2: named tensors -> one call of the pipeline -> tensors.

What `oip_rest` and `oip_rpc` share. A model takes `depth` [rows, cols] UINT16 or FP32 and
`intrinsics` [fx_px, fy_px, cx_px, cy_px], and gives `keypoints_mm` [K, 3] and `confidence` [K].
The other fields of an estimate travel as request parameters, under their native names; `timeout`
is Triton's, in microseconds.
"""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from v2vpose import __version__
from v2vpose.api.asking import answered
from v2vpose.api.decode import Limits, depth_mm_from_array
from v2vpose.api.decode.raw import decode_raw_f32, decode_raw_u16
from v2vpose.api.fields import EstimateFields
from v2vpose.api.parts import WireParts
from v2vpose.errors import InvalidDepthMapError, InvalidFieldError, UnsupportedEncodingError
from v2vpose.model_store import Manifest
from v2vpose.serving.pipeline import Estimate
from v2vpose.values import DepthArray

SERVER: Final[dict[str, Any]] = {
    "name": "v2vpose",
    "version": __version__,
    "extensions": ["binary_tensor_data"],
}
DTYPES: Final = {"UINT16": "<u2", "FP32": "<f4", "FP64": "<f8"}
_READERS: Final[dict[str, Callable[..., NDArray[Any]]]] = {
    "UINT16": decode_raw_u16,
    "FP32": decode_raw_f32,
}
_INTRINSICS: Final = ("fx_px", "fy_px", "cx_px", "cy_px")
_OUTPUTS: Final = ("keypoints_mm", "confidence")
_PARAMETERS: Final = (
    "depth_unit_mm", "reference_point_mm", "roi_px", "near_mm", "far_mm", "side_mm", "handedness",
    "decode", "epochs",
)  # fmt: skip
_INLINE_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named tensor; `content` holds its elements row-major, little-endian."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    content: bytes


@dataclass(frozen=True, slots=True)
class InferRequest:
    """One inference.

    Attributes:
        model: its name.
        version: None = the one being served.
        parameters: of the request.
        inputs: in the caller's order.
        outputs: names of those wanted; none = all.
    """

    model: str
    version: str | None
    parameters: Mapping[str, Any]
    inputs: Sequence[Tensor]
    outputs: Sequence[str]


@dataclass(frozen=True, slots=True)
class Inferred:
    """The answer: which model and version, its parameters, its tensors in the order wanted."""

    model: str
    version: str
    parameters: Mapping[str, bool | str]
    outputs: Sequence[Tensor]


async def infer(
    parts: WireParts, request: InferRequest, *, start_s: float, wait_s: float
) -> Inferred:
    """Estimate the pose in one depth map.

    Args:
        parts: what all interfaces share.
        request: the tensors.
        start_s: instant of `time.monotonic` at which the request came.
        wait_s: seconds that the caller waits, unless the request says less.

    Raises:
        PoseError: whatever is wrong.
    """
    unknown = [name for name in request.outputs if name not in _OUTPUTS]
    if unknown:
        raise InvalidFieldError(f"no output {unknown[0]!r}; there are: {', '.join(_OUTPUTS)}")
    fields = _fields(request)
    options, depth = fields.options(), _input(request, "depth")
    deadline_s = start_s + _wait_s(request.parameters, wait_s)
    answer = await answered(
        parts,
        fields,
        start_s=start_s,
        decode=_decoder(parts, depth, fields.depth_unit_mm),
        estimate=lambda frame: parts.pipeline.estimate(
            frame, options, model=fields.model, version=fields.version, deadline_s=deadline_s
        ),
    )
    return _inferred(answer.estimate, request.outputs or _OUTPUTS)


def model_metadata(manifest: Manifest) -> dict[str, Any]:
    """Return what a model takes and gives; -1 = any size."""
    keypoints = len(manifest.keypoints)
    return {
        "name": manifest.model,
        "versions": [manifest.version],
        "platform": "v2vpose",
        "inputs": [
            {"name": "depth", "datatype": "UINT16", "shape": [-1, -1]},
            {"name": "intrinsics", "datatype": "FP32", "shape": [4]},
        ],
        "outputs": [
            {"name": "keypoints_mm", "datatype": "FP32", "shape": [keypoints, 3]},
            {"name": "confidence", "datatype": "FP32", "shape": [keypoints]},
        ],
    }


def model_ready(parts: WireParts, model: str, version: str | None) -> bool:
    """Return whether a model has its quorum of warm workers.

    Raises:
        UnknownModelError: no such model or version.
        UnavailableError: not up yet.
    """
    manifest = parts.pipeline.manifest(model, version)
    return any(each.ready for each in parts.pipeline.health() if each.model == manifest.model)


def content_of(values: Any, datatype: str, name: str) -> bytes:
    """Return the content of a tensor whose elements came as numbers, nested or flat.

    Raises:
        UnsupportedEncodingError: a datatype that no input has.
        InvalidFieldError: not numbers, or out of the datatype's range.
    """
    if datatype not in DTYPES:
        raise UnsupportedEncodingError(
            f"{name}: expected datatype {', '.join(DTYPES)}, found {datatype[:20]!r}"
        )
    try:
        given = np.asarray(values)
    except ValueError as error:  # ragged
        raise InvalidFieldError(f"{name}: rows must be of one length") from error
    if given.dtype.kind not in "iuf" or given.size == 0:
        raise InvalidFieldError(f"{name}: expected numbers, found {str(values)[:40]}")
    with np.errstate(invalid="ignore", over="ignore"):
        typed = given.astype(DTYPES[datatype])
    if typed.dtype.kind == "u" and not np.array_equal(typed, given):
        raise InvalidFieldError(
            f"{name}: expected whole numbers 0..65535, found {given.min():g}..{given.max():g}"
        )
    return typed.tobytes()


def _fields(request: InferRequest) -> EstimateFields:
    given = {name: value for name, value in request.parameters.items() if name != "timeout"}
    unknown = [name[:60] for name in given if name not in _PARAMETERS]
    if unknown:
        known = ", ".join((*_PARAMETERS, "timeout"))
        raise InvalidFieldError(f"unknown parameter {unknown[0]} (known: {known})")
    camera = _input(request, "intrinsics")
    floats = {"FP32": "<f4", "FP64": "<f8"}
    if camera.datatype not in floats or camera.shape != (4,):
        raise InvalidFieldError(
            f"intrinsics: expected FP32 or FP64 of shape [4] ({', '.join(_INTRINSICS)}), "
            f"found {camera.datatype} {list(camera.shape)}"
        )
    item_bytes = np.dtype(floats[camera.datatype]).itemsize
    if len(camera.content) != 4 * item_bytes:
        raise InvalidFieldError(
            f"intrinsics: 4 numbers are {4 * item_bytes} bytes, found {len(camera.content)}"
        )
    values = np.frombuffer(camera.content, floats[camera.datatype]).tolist()
    return EstimateFields.from_values(
        {
            "model": request.model,
            "version": request.version,
            **dict(zip(_INTRINSICS, values, strict=True)),
            **given,
        }
    )


def _input(request: InferRequest, name: str) -> Tensor:
    found = [tensor for tensor in request.inputs if tensor.name == name]
    names = [tensor.name for tensor in request.inputs]
    if len(found) != 1 or len(names) != 2:
        raise InvalidFieldError(
            f"expected the inputs depth and intrinsics, found {', '.join(names)[:80] or 'none'}"
        )
    return found[0]


def _wait_s(parameters: Mapping[str, Any], wait_s: float) -> float:
    timeout_us = parameters.get("timeout")
    if timeout_us is None:
        return wait_s
    is_number = isinstance(timeout_us, int | float) and not isinstance(timeout_us, bool)
    if not (is_number and math.isfinite(timeout_us) and timeout_us > 0):
        raise InvalidFieldError(f"timeout must be microseconds > 0, got {str(timeout_us)[:60]}")
    return min(float(timeout_us) / 1e6, wait_s)


def _decoder(
    parts: WireParts, depth: Tensor, depth_unit_mm: float
) -> Callable[[], Awaitable[DepthArray]]:
    """Decode a large depth map in a thread; a small one costs less than the way there."""

    async def decode() -> DepthArray:
        if len(depth.content) <= _INLINE_BYTES:
            return _depth_mm(depth, depth_unit_mm, parts.limits)
        return await parts.offload.run(_depth_mm, depth, depth_unit_mm, parts.limits)

    return decode


def _depth_mm(depth: Tensor, depth_unit_mm: float, limits: Limits) -> DepthArray:
    reader = _READERS.get(depth.datatype)
    if reader is None:
        raise UnsupportedEncodingError(
            f"depth: expected datatype UINT16 or FP32, found {depth.datatype[:20]!r}"
        )
    if len(depth.shape) != 2:
        raise InvalidDepthMapError(
            f"depth: expected shape [rows, cols], found {list(depth.shape)[:8]}"
        )
    rows, cols = depth.shape
    readings = reader(depth.content, width=cols, height=rows, limits=limits)
    return depth_mm_from_array(readings, depth_unit_mm)


def _inferred(estimate: Estimate, outputs: Sequence[str]) -> Inferred:
    pose = estimate.pose
    values = {"keypoints_mm": pose.keypoints_mm, "confidence": pose.confidence}
    parameters: dict[str, bool | str] = {"degraded": pose.degraded}
    if pose.handedness is not None:
        parameters["handedness"] = pose.handedness[0].value
    return Inferred(
        model=estimate.model,
        version=estimate.version,
        parameters=parameters,
        outputs=[
            Tensor(name, "FP32", values[name].shape, values[name].astype("<f4").tobytes())
            for name in outputs
        ],
    )
