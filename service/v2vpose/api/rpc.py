"""gRPC, thin: messages -> values, one call of the pipeline, values -> messages."""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from v2vpose.api.access import KEY_HEADER
from v2vpose.api.asking import answered
from v2vpose.api.decode import Encoding, Limits, decode_frame
from v2vpose.api.fields import EstimateFields
from v2vpose.api.messages import estimate_message, model_message
from v2vpose.api.parts import WireParts
from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.api.pb.pose_pb2_grpc import PoseEstimationServicer
from v2vpose.api.rpc_envelope import metadata_of, rpc_envelope
from v2vpose.api.rpc_fields import encoding_of, fields_of
from v2vpose.api.streams import StreamParts, StreamSession
from v2vpose.errors import InvalidFieldError, UnavailableError
from v2vpose.values import DepthArray

SERVICE_NAME: Final = pb.DESCRIPTOR.services_by_name["PoseEstimation"].full_name
_INLINE_BYTES: Final = 2**20
_RAW: Final = {Encoding.RAW_U16_LE, Encoding.RAW_F32_LE_METRES}


class PoseEstimation(PoseEstimationServicer):
    """The native gRPC service.

    Args:
        parts: what it shares with REST.
        min_peak: mean heatmap peak below which a stream does not follow a pose.
    """

    def __init__(self, parts: WireParts, *, min_peak: float) -> None:
        self._parts = parts
        self._stream_parts = StreamParts(parts, self._decode, min_peak)
        self._sessions: set[StreamSession] = set()
        self._draining = False

    async def end_streams(self) -> None:
        """End every stream after the frames it has taken; open no new ones."""
        self._draining = True
        for session in tuple(self._sessions):
            await session.close()

    async def Estimate(  # noqa: N802  # the proto's name
        self, request: pb.EstimateRequest, context: Any
    ) -> pb.EstimateResponse:
        """Estimate the pose in one depth map."""
        start_s = time.monotonic()
        parts = self._parts
        async with rpc_envelope(context, parts.telemetry, "rpc_estimate") as request_id:
            self._check_key(context)
            fields = fields_of(request.options)
            options = fields.options()
            left_s = context.time_remaining()
            wait_s = parts.timeout_s if left_s is None else min(left_s, parts.timeout_s)
            with parts.inflight.holding(len(request.depth.data)):
                answer = await answered(
                    parts,
                    fields,
                    start_s=start_s,
                    decode=lambda: self._decode(request.depth, fields),
                    estimate=lambda frame: parts.pipeline.estimate(
                        frame,
                        options,
                        model=fields.model,
                        version=fields.version,
                        deadline_s=start_s + wait_s,
                        priority=fields.turn(),
                    ),
                )
            return estimate_message(
                answer.estimate,
                answer.manifest,
                request_id=request_id,
                include=fields.include,
                timing_s=answer.timing_s,
            )

    async def EstimateStream(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.EstimateStreamRequest], context: Any
    ) -> AsyncIterator[pb.EstimateStreamResponse]:
        """Answer the frames of one camera."""
        async with rpc_envelope(context, self._parts.telemetry, "rpc_stream") as request_id:
            self._check_key(context)
            first = await anext(aiter(request_iterator), None)
            if first is None or first.WhichOneof("message") != "start":
                raise InvalidFieldError("the first message of a stream must be its start")
            if self._draining:
                raise UnavailableError("draining; open the stream again")
            session = StreamSession(self._stream_parts, first.start, request_id=request_id)
            self._sessions.add(session)
            try:
                async with aclosing(session.run(request_iterator)) as answers:
                    async for answer in answers:
                        yield answer
            finally:
                self._sessions.discard(session)
            if self._draining:
                raise UnavailableError("draining; open the stream again")

    async def ListModels(  # noqa: N802
        self, request: pb.ListModelsRequest, context: Any
    ) -> pb.ListModelsResponse:
        """List the models being served."""
        del request  # it has no fields
        async with rpc_envelope(context, self._parts.telemetry, "rpc_list_models"):
            self._check_key(context)
            pipeline = self._parts.pipeline
            ready = {health.model: health.ready for health in pipeline.health()}
            return pb.ListModelsResponse(
                models=[
                    model_message(manifest, ready=ready.get(manifest.model, False))
                    for manifest in pipeline.models()
                ]
            )

    async def _decode(self, depth: pb.DepthMap, fields: EstimateFields) -> DepthArray:
        """Decode in a thread; a small raw depth map is a copy and costs less than the way there."""
        encoding, data, limits = encoding_of(depth), depth.data, self._parts.limits
        if encoding in _RAW and len(data) <= _INLINE_BYTES:
            return _decoded(data, encoding, depth, fields, limits)
        return await self._parts.offload.run(_decoded, data, encoding, depth, fields, limits)

    def _check_key(self, context: Any) -> None:
        metadata = metadata_of(context)
        self._parts.keys.check(metadata.get(KEY_HEADER), metadata.get("authorization"))


def _decoded(
    data: bytes, encoding: Encoding, depth: pb.DepthMap, fields: EstimateFields, limits: Limits
) -> DepthArray:
    return decode_frame(
        data,
        encoding,
        depth_unit_mm=fields.depth_unit_mm,
        limits=limits,
        width=depth.width or None,
        height=depth.height or None,
    )
