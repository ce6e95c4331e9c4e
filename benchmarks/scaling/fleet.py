"""What a fleet needs: from the figures of one node to streams of cameras; arithmetic only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

BATCH: Final = 64  # beyond it a GPU gains little, see `docs/scaling.md`


@dataclass(frozen=True)
class Needs:
    """What so many frames a second take.

    Attributes:
        gpus: at full batches, at 100 % of their time.
        front_cores: REST or gRPC, decoding, scheduling.
        call_cores: more of them, for the calls to the members on Ray.
        in_bit_per_s: from the cameras.
        fan_out_bit_per_s: from front ends to members.
        out_bit_per_s: to whoever wants poses.
    """

    gpus: float
    front_cores: float
    call_cores: float
    in_bit_per_s: float
    fan_out_bit_per_s: float
    out_bit_per_s: float


def member_s(figures: Mapping[str, Any], net: str, crops: int) -> float:
    """Return how long one member works on a batch on one GPU."""
    gpu = figures["gpu"]
    return float(gpu["batch_s"] + crops * figures["net"][net]["flop"] / gpu["flop_per_s"])


def frames_per_gpu(
    figures: Mapping[str, Any], net: str, *, members: int, batch: int = BATCH
) -> float:
    """Return how many frames a second one GPU answers with a whole ensemble."""
    return batch / (members * member_s(figures, net, batch))


def needs(
    figures: Mapping[str, Any], net: str, *, frames_per_s: float, members: int, copies: int
) -> Needs:
    """Return what a fleet takes.

    Args:
        figures: of `figures.toml`.
        net: which net.
        frames_per_s: of all cameras together.
        members: of the ensemble.
        copies: of each crop that cross the network: 1 if an ensemble shares a node, else `members`.
    """
    size = figures["bytes"]
    return Needs(
        gpus=frames_per_s / frames_per_gpu(figures, net, members=members),
        front_cores=frames_per_s * figures["front"]["cpu_s"],
        call_cores=frames_per_s * members * figures["front"]["ray_call_cpu_s"] / BATCH,
        in_bit_per_s=frames_per_s * size["frame"] * 8,
        fan_out_bit_per_s=frames_per_s * size["crop"] * 8 * copies,
        out_bit_per_s=frames_per_s * size["answer"] * 8,
    )
