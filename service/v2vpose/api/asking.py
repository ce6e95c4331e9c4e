"""What REST, gRPC and streams do alike between the bytes and the answer."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from v2vpose.api.fields import EstimateFields
from v2vpose.api.parts import WireParts
from v2vpose.model_store import Manifest
from v2vpose.serving.pipeline import Estimate
from v2vpose.values import DepthArray, DepthFrame


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, and what is needed to write it down.

    Attributes:
        estimate: what the pipeline answered.
        manifest: of the version that answered.
        timing_s: seconds by stage, of the whole request.
    """

    estimate: Estimate
    manifest: Manifest
    timing_s: Mapping[str, float]


async def answered(
    parts: WireParts,
    fields: EstimateFields,
    *,
    start_s: float,
    decode: Callable[[], Awaitable[DepthArray]],
    estimate: Callable[[DepthFrame], Awaitable[Estimate]],
) -> Answered:
    """Decode and estimate; what is wrong with the fields is told before anything costs time.

    Args:
        parts: the pipeline and the telemetry.
        fields: of the request.
        start_s: instant of `time.monotonic` at which the request came.
        decode: makes the depth map of the request's bytes.
        estimate: asks the pipeline.

    Raises:
        PoseError: whatever is wrong.
    """
    intrinsics = fields.intrinsics()
    asked = parts.pipeline.manifest(fields.model, fields.version)
    decode_start_s = time.monotonic()
    frame = DepthFrame(await decode(), intrinsics)
    decode_s = time.monotonic() - decode_start_s
    parts.telemetry.stages({"decode": decode_s})
    given = await estimate(frame)
    # A reload may have come between; the version that answered may be gone by now.
    is_same = given.version == asked.version
    return Answered(
        estimate=given,
        manifest=asked if is_same else parts.pipeline.manifest(given.model, given.version),
        timing_s={**given.timing_s, "decode": decode_s, "total": time.monotonic() - start_s},
    )
