"""The frames of one stream that have arrived, and the bytes that they hold."""

from dataclasses import dataclass

from v2vpose.api.inflight import InflightBytes
from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.errors import OverloadedError


@dataclass(frozen=True, slots=True)
class Arrived:
    """A frame.

    Attributes:
        frame: as it came.
        held: bytes of its depth map.
        refusal: why it has none any more; it keeps its place in the order of answers.
    """

    frame: pb.Frame
    held: int
    refusal: OverloadedError | None = None


class Arrivals:
    """Holds the bytes of frames, or lets a frame's go at once if there is no room.

    Args:
        inflight: what all requests hold.
    """

    __slots__ = ("_held", "_inflight")

    def __init__(self, inflight: InflightBytes) -> None:
        self._inflight = inflight
        self._held = 0

    def take(self, frame: pb.Frame) -> Arrived:
        """Take a frame in."""
        size = len(frame.depth.data)
        try:
            self._inflight.take(size)
        except OverloadedError as refusal:
            frame.ClearField("depth")
            return Arrived(frame, 0, refusal)
        self._held += size
        return Arrived(frame, size)

    def give(self, arrived: Arrived | None) -> None:
        """Give back what a frame holds that is answered or left out."""
        self._give(0 if arrived is None else arrived.held)

    def close(self) -> None:
        """Give back what is left, however the stream ended."""
        self._give(self._held)

    def _give(self, size: int) -> None:
        self._inflight.give(size)
        self._held -= size
