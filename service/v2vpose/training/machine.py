"""What a run computes on: one process, or several of torchrun, each with its device.

Launched by torchrun, every process takes its share of each batch, gradients are averaged (gloo on
CPUs, NCCL on GPUs), and the first process alone writes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from v2vpose.errors import InvalidFieldError

CPU: Final = torch.device("cpu")
LEAST_BF16_SIDE: Final = 24


@dataclass(frozen=True, slots=True)
class Machine:
    """One process of a run.

    Attributes:
        device: of the nets.
        bf16: whether V2V's convolutions run in bfloat16; sums and weights stay float32.
        loaders: processes that make blocks.
        rank: of this process.
        ranks: how many there are.
    """

    device: torch.device = CPU
    bf16: bool = True
    loaders: int = 1
    rank: int = 0
    ranks: int = 1

    def check_side(self, input_side: int) -> None:
        """Refuse grids on which PyTorch's weight gradients in bfloat16 are noise.

        oneDNN's Conv3d reads memory it has not written if its input has 2 cells a side, an eighth
        of the grid's (PyTorch 2.13 on CPUs); with 3 and more it does not.

        Raises:
            InvalidFieldError: bfloat16 on a CPU, and the grid is too small.
        """
        if self.bf16 and self.device.type == "cpu" and input_side < LEAST_BF16_SIDE:
            raise InvalidFieldError(
                f"input side must be at least {LEAST_BF16_SIDE} in bf16 on a CPU, got "
                f"{input_side}; take --precision float32"
            )

    @property
    def is_first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def share(self, batch: int) -> int:
        """Return this process's frames of a batch.

        Raises:
            InvalidFieldError: the batch cannot be shared evenly.
        """
        if batch % self.ranks:
            raise InvalidFieldError(
                f"batch must be a multiple of the {self.ranks} processes, got {batch}"
            )
        return batch // self.ranks

    def parallel(self, net: nn.Module) -> nn.Module:
        """Return the net to call in training, with gradients averaged over the processes."""
        return net if self.ranks == 1 else DistributedDataParallel(net)

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Return each value's mean over the processes."""
        if self.ranks == 1:
            return values
        stacked = torch.tensor([*values.values()], dtype=torch.float64, device=self.device)
        if self.device.type == "cuda":
            stacked = stacked.float()
        distributed.all_reduce(stacked)
        return dict(zip(values, (stacked / self.ranks).tolist(), strict=True))


@contextmanager
def joined(machine: Machine) -> Iterator[Machine]:
    """Join the processes of torchrun, if it launched this one."""
    if not distributed.is_torchelastic_launched():
        yield machine
        return
    on_gpu = machine.device.type == "cuda"
    options: dict[str, Any] = {}
    if on_gpu:
        device = torch.device("cuda", distributed.get_node_local_rank())
        torch.cuda.set_device(device)
        machine, options = replace(machine, device=device), {"device_id": device}
    distributed.init_process_group("nccl" if on_gpu else "gloo", **options)
    try:
        yield replace(machine, rank=distributed.get_rank(), ranks=distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
