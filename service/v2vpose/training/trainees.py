"""What is trained: each net with its loss, its optimiser and its share of a block."""

import math
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor, nn

from v2vpose.heatmaps.gaussian import gaussian_heatmaps, sigma_cell
from v2vpose.nets import CentreDetector, Refiner, V2VNet, build_v2v
from v2vpose.training.machine import Machine
from v2vpose.training.recipe import Recipe
from v2vpose.training.samples import Block

_EPSILON: Final = 1e-8  # of the release's RMSProp, added after the root
_DETECTOR_SIGMA_CELL: Final = 1.3
_LEAST_RATE: Final = 0.02  # where a cosine ends
_REFINER_EPOCHS: Final = 100  # DeepPrior++ section 3.3


class Trainee(Protocol):
    """One net in training."""

    @property
    def net(self) -> nn.Module:
        """The net."""
        ...

    @property
    def optimiser(self) -> torch.optim.Optimizer:
        """Its optimiser."""
        ...

    def learn(self, block: Block, progress: float) -> float:
        """Take the block's steps at 0..1 of the whole run; return the mean loss."""
        ...


class V2VTrainee:
    """The V2V net: squared error against equation 1, a frame's sum or mean by the recipe."""

    def __init__(self, recipe: Recipe, num_keypoints: int, machine: Machine) -> None:
        net = build_v2v(num_keypoints, width=recipe.width)
        if recipe.norm_scale == "uniform":
            _draw_norm_scales(net)
        self.net: V2VNet = net.to(  # type: ignore[call-overload]  # stub
            machine.device, memory_format=torch.channels_last_3d
        )
        self.optimiser = _optimiser(recipe, self.net)
        self._recipe = recipe
        self._machine = machine
        self._parallel = machine.parallel(self.net)

    def learn(self, block: Block, progress: float) -> float:
        """See `Trainee.learn`."""
        recipe, device = self._recipe, self._machine.device
        cosine = _cosine(progress, recipe.decay_from)
        _set_rate(self.optimiser, recipe.learning_rate * cosine)
        self._parallel.train()
        losses = []
        size = self._machine.share(recipe.batch)
        for occupancy, keypoints_cell in zip(
            torch.split(block.occupancy, size), torch.split(block.keypoints_cell, size), strict=True
        ):
            grid = occupancy.to(device).float().to(memory_format=torch.channels_last_3d)
            with torch.autocast(device.type, torch.bfloat16, enabled=self._machine.bf16):
                heatmaps = self._parallel(grid)
            target = gaussian_heatmaps(
                keypoints_cell.to(device),
                heatmap_side=recipe.heatmap_side,
                sigma_cell=sigma_cell(recipe.heatmap_side),
            )
            error = nn.functional.mse_loss(heatmaps.float(), target, reduction="sum")
            count = target.numel() if recipe.loss == "mean" else len(target)
            losses.append(_descend(self.optimiser, error / count))
        return _mean(losses)


class RefinerTrainee:
    """The refiner: squared distance to the bounding box's midpoint (DeepPrior++ section 3.3)."""

    def __init__(self, recipe: Recipe, machine: Machine) -> None:
        self.net = Refiner().to(machine.device)
        self.optimiser = torch.optim.Adam(self.net.parameters())
        self._recipe = recipe
        self._machine = machine
        self._parallel = machine.parallel(self.net)

    def learn(self, block: Block, progress: float) -> float:
        """See `Trainee.learn`."""
        recipe, device = self._recipe, self._machine.device
        wide = recipe.refiner == "wide"
        factor = _cosine(progress, 0.3) if wide else deepprior_factor(progress)
        _set_rate(self.optimiser, recipe.refiner_learning_rate * factor)
        self._parallel.train()
        losses = []
        size = self._machine.share(recipe.refiner_batch)
        for crop, offset in zip(
            torch.split(block.refiner_crop, size),
            torch.split(block.refiner_offset, size),
            strict=True,
        ):
            aligned = crop.to(device, copy=True)  # NumPy's memory is not; sums would depend on it
            error = self._parallel(aligned) - offset.to(device)
            losses.append(_descend(self.optimiser, (error**2).sum(dim=1).mean()))
        return _mean(losses)


class DetectorTrainee:
    """The detector: penalty-reduced focal loss on centres, absolute error on their depth."""

    def __init__(self, recipe: Recipe, machine: Machine) -> None:
        self.net = CentreDetector().to(machine.device)
        self.optimiser = torch.optim.Adam(self.net.parameters())
        self._rate = recipe.detector_learning_rate
        self._device = machine.device
        self._parallel = machine.parallel(self.net)

    def learn(self, block: Block, progress: float) -> float:
        """See `Trainee.learn`."""
        samples = block.detector
        if samples is None:
            raise ValueError("expected a block with samples for the detector, found none")
        _set_rate(self.optimiser, self._rate * _cosine(progress, 0.3))
        self._parallel.train()
        logits, depth_m = self._parallel(samples.image.to(self._device, copy=True))
        target = _centre_heat(samples.centre.to(self._device), logits.shape[-2:])  # (N, h, w)
        error_m = (depth_m - samples.depth_m.to(self._device)[:, None, None]).abs()
        depth_loss = (error_m * target).sum() / target.sum().clamp(min=1)
        return float(_descend(self.optimiser, _focal_loss(logits, target) + 2 * depth_loss))


@dataclass(frozen=True, slots=True)
class Trainees:
    """The nets in training."""

    v2v: V2VTrainee
    refiner: RefinerTrainee
    detector: DetectorTrainee | None

    @classmethod
    def fresh(cls, recipe: Recipe, num_keypoints: int, machine: Machine) -> "Trainees":
        """Return nets with the recipe's first weights."""
        torch.manual_seed(recipe.seed)
        return cls(
            V2VTrainee(recipe, num_keypoints, machine),
            RefinerTrainee(recipe, machine),
            DetectorTrainee(recipe, machine) if recipe.detector else None,
        )

    def named(self) -> dict[str, Trainee]:
        """Return them by name."""
        named: dict[str, Trainee] = {"v2v": self.v2v, "refiner": self.refiner}
        return named if self.detector is None else named | {"detector": self.detector}


def deepprior_factor(progress: float) -> float:
    """Return the share of DeepPrior++'s base rate at 0..1 of the run, its 100 epochs."""
    epoch = int(progress * _REFINER_EPOCHS)
    if epoch < 2:
        return 1 / 10
    return 1 / 3 if epoch == 2 else math.exp(-0.04 * epoch)


def _cosine(progress: float, decay_from: float) -> float:
    """Hold the rate, then let it fall to 2 % along half a cosine."""
    after = max(0.0, progress - decay_from) / max(1 - decay_from, 1e-9)
    return _LEAST_RATE + (1 - _LEAST_RATE) * (1 + math.cos(math.pi * min(after, 1.0))) / 2


def _centre_heat(centre_cell: Tensor, hw: torch.Size) -> Tensor:
    """Return (N, h, w) Gaussians that reach exactly 1 at the cell nearest to each centre."""
    u, v = centre_cell.round().unbind(dim=1)
    rows, cols = (torch.arange(size, dtype=u.dtype, device=u.device) for size in hw)
    distance2 = (cols - u[:, None])[:, None, :] ** 2 + (rows - v[:, None])[:, :, None] ** 2
    return torch.exp(-distance2 / (2 * _DETECTOR_SIGMA_CELL**2))


def _focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Penalty-reduced focal loss (Law and Deng, CornerNet, section 3.2: alpha 2, beta 4)."""
    score = logits.float().sigmoid()
    positive = target > 0.999  # float32 rounding of exp(0)
    hit = -nn.functional.logsigmoid(logits) * (1 - score) ** 2
    miss = nn.functional.softplus(logits) * score**2 * (1 - target) ** 4
    return torch.where(positive, hit, miss).sum() / positive.sum().clamp(min=1)


def _draw_norm_scales(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight)


def _optimiser(recipe: Recipe, net: nn.Module) -> torch.optim.Optimizer:
    if recipe.optimiser == "adam":
        return torch.optim.Adam(net.parameters())
    return torch.optim.RMSprop(net.parameters(), alpha=0.99, eps=_EPSILON)


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> Tensor:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return loss.detach()


def _mean(losses: list[Tensor]) -> float:
    """Wait for the device once a block."""
    return float(torch.stack(losses).mean())
