"""What REST and gRPC are both made of."""

from dataclasses import dataclass

from v2vpose.api.access import Keys
from v2vpose.api.decode import Limits
from v2vpose.api.inflight import InflightBytes
from v2vpose.api.offload import Offload
from v2vpose.api.ports import PosePipeline
from v2vpose.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class WireParts:
    """What both interfaces share.

    Attributes:
        pipeline: answers.
        telemetry: counts.
        keys: let callers in.
        limits: on bodies, messages and depth maps.
        inflight: the bytes that all requests together hold.
        offload: threads that decode.
        timeout_s: deadline of callers that name none, and the longest that one may name.
    """

    pipeline: PosePipeline
    telemetry: Telemetry
    keys: Keys
    limits: Limits
    inflight: InflightBytes
    offload: Offload
    timeout_s: float
