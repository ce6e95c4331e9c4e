"""One camera's stream: frames in, answers out, in order; late frames replaced, or all kept."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from v2vpose.api.arrivals import Arrivals, Arrived
from v2vpose.api.asking import answered
from v2vpose.api.fields import EstimateFields
from v2vpose.api.mailbox import Mailbox
from v2vpose.api.messages import pose_message
from v2vpose.api.parts import WireParts
from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.api.problems import INTERNAL_DETAIL
from v2vpose.api.rpc_fields import fields_of, smoothing_of
from v2vpose.api.smoothing import PoseSmoother
from v2vpose.api.status import wire_status
from v2vpose.api.tracking import Tracker
from v2vpose.errors import InvalidFieldError, NothingToEstimateError, PoseError
from v2vpose.estimator import Options
from v2vpose.serving.pipeline import Estimate
from v2vpose.serving.ports import Priority
from v2vpose.values import DepthArray, DepthFrame

FRAME_ROUTE: Final = "rpc_stream_frame"
_log: Final = logging.getLogger("v2vpose.streams")

Decoder = Callable[[pb.DepthMap, EstimateFields], Awaitable[DepthArray]]


@dataclass(frozen=True, slots=True)
class StreamParts:
    """What every stream needs.

    Attributes:
        wire: what all interfaces share; its timeout is the deadline of one frame.
        decode: a depth map's bytes to millimetres.
        min_peak: mean heatmap peak below which a pose is not followed.
    """

    wire: WireParts
    decode: Decoder
    min_peak: float


class StreamSession:
    """One open stream.

    Args:
        parts: what every stream needs.
        start: the caller's first message.
        request_id: of the stream; a frame's is this and its sequence number.

    Raises:
        InvalidFieldError: the options are missing, malformed or out of range.
    """

    def __init__(self, parts: StreamParts, start: pb.StreamStart, *, request_id: str) -> None:
        fields = fields_of(start.options)
        self._parts = parts
        self._fields = fields
        fields.intrinsics()  # refused now, not frame by frame
        self._options = fields.options()
        if self._options.are_plural:
            raise InvalidFieldError(
                "a stream follows one target; targets and hints are for Estimate"
            )
        self._tracker = (
            None if start.localise_every_frame else Tracker(self._options, min_peak=parts.min_peak)
        )
        smoothing = smoothing_of(start)
        self._smoother = None if smoothing is None else PoseSmoother(smoothing)
        self._request_id = request_id
        self._arrivals = Arrivals(parts.wire.inflight)
        self._mailbox: Mailbox[Arrived] = Mailbox(
            keeps_every=start.on_backlog == pb.ON_BACKLOG_EVERY
        )

    async def run(
        self, requests: AsyncIterator[pb.EstimateStreamRequest]
    ) -> AsyncGenerator[pb.EstimateStreamResponse, None]:
        """Answer frame after frame until the caller has sent all, or `close`.

        Raises:
            InvalidFieldError: a message is not a frame.
        """
        reader = asyncio.create_task(self._read(requests))
        told = 0
        try:
            with self._parts.wire.telemetry.stream():
                while (arrived := await self._mailbox.get()) is not None:
                    answer = await self._answer(arrived)
                    self._arrivals.give(arrived)
                    dropped = self._mailbox.dropped
                    answer.dropped, answer.dropped_total = dropped - told, dropped
                    self._parts.wire.telemetry.stream_frames_dropped_total.inc(dropped - told)
                    told = dropped
                    yield answer
        finally:
            self._parts.wire.telemetry.stream_frames_dropped_total.inc(self._mailbox.dropped - told)
            reader.cancel()
            self._arrivals.close()

    async def close(self) -> None:
        """Take no more frames; the one being worked on, and one that waits, are answered."""
        await self._mailbox.close()

    async def _read(self, requests: AsyncIterator[pb.EstimateStreamRequest]) -> None:
        try:
            async for request in requests:
                arrived = self._arrivals.take(_frame_of(request))
                self._arrivals.give(await self._mailbox.put(arrived))
        except Exception as error:  # noqa: BLE001  # handed to the side that answers
            await self._mailbox.close(error)
        else:
            await self._mailbox.close()

    async def _answer(self, arrived: Arrived) -> pb.EstimateStreamResponse:
        """Return the answer to a frame; whatever goes wrong is this frame's error alone."""
        frame = arrived.frame
        answer = pb.EstimateStreamResponse(
            sequence=frame.sequence, capture_time_ns=frame.capture_time_ns
        )
        try:
            with self._parts.wire.telemetry.request(FRAME_ROUTE):
                answer.pose.CopyFrom(await self._pose(arrived))
        except PoseError as error:
            answer.error.code = error.code
            answer.error.detail = str(error)
            answer.error.is_retryable = wire_status(error).is_retryable
        except Exception:  # noqa: BLE001  # our bug: logged here, once
            _log.exception("frame %d failed", frame.sequence)
            answer.error.code, answer.error.detail = "internal", INTERNAL_DETAIL
        return answer

    async def _pose(self, arrived: Arrived) -> pb.Pose:
        if arrived.refusal is not None:
            raise arrived.refusal
        start_s, frame = time.monotonic(), arrived.frame
        if self._smoother is not None and not frame.capture_time_ns:
            raise InvalidFieldError("capture_time_ns: expected a time to smooth by, found 0")
        wire = self._parts.wire
        answer = await answered(
            wire,
            self._fields,
            start_s=start_s,
            decode=lambda: self._parts.decode(frame.depth, self._fields),
            estimate=lambda seen: self._smoothed(
                seen, frame.capture_time_ns, start_s + wire.timeout_s
            ),
        )
        return pose_message(
            answer.estimate,
            answer.manifest,
            request_id=f"{self._request_id}-{frame.sequence}",
            include=self._fields.include,
            timing_s=answer.timing_s,
        )

    async def _smoothed(
        self, frame: DepthFrame, capture_time_ns: int, deadline_s: float
    ) -> Estimate:
        """Estimate, and smooth the pose where the caller asked for it."""
        if self._smoother is None:
            return await self._estimate(frame, deadline_s)
        try:
            estimate = await self._estimate(frame, deadline_s)
        except NothingToEstimateError:
            self._smoother.reset()
            raise
        return replace(
            estimate, pose=self._smoother.smoothed(estimate.pose, frame, capture_time_ns)
        )

    async def _estimate(self, frame: DepthFrame, deadline_s: float) -> Estimate:
        """Follow the last pose; where that is not sure, localise from nothing in the same frame."""
        tracker = self._tracker
        if tracker is None:
            return await self._ask(frame, self._options, deadline_s)
        if tracker.has_target:
            try:
                estimate = await self._ask(frame, tracker.options(), deadline_s)
            except NothingToEstimateError:
                tracker.forget()
            else:
                followed = replace(estimate, pose=tracker.followed(estimate.pose))
                if tracker.is_sure(followed.pose):
                    tracker.learn(followed.pose)
                    return followed
                tracker.forget()
        estimate = await self._ask(frame, self._options, deadline_s)
        tracker.learn(estimate.pose)
        return estimate

    async def _ask(self, frame: DepthFrame, options: Options, deadline_s: float) -> Estimate:
        return await self._parts.wire.pipeline.estimate(
            frame,
            options,
            model=self._fields.model,
            version=self._fields.version,
            deadline_s=deadline_s,
            priority=self._fields.turn(Priority.STREAM),
        )


def _frame_of(request: pb.EstimateStreamRequest) -> pb.Frame:
    if request.WhichOneof("message") != "frame":
        raise InvalidFieldError("after the first message of a stream come frames only")
    return request.frame
