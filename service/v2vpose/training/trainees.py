"""What is trained: each net with its loss, its optimiser and its share of a block."""

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from v2vpose.heatmaps.gaussian import gaussian_heatmaps, sigma_cell
from v2vpose.nets import CentreDetector, Refiner, V2VNet, build_v2v
from v2vpose.training.recipe import Recipe
from v2vpose.training.samples import Block

_EPSILON = 1e-8  # of the release's RMSProp, added after the root
_DETECTOR_SIGMA_CELL = 1.3


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
    """The V2V net: mean-squared error against equation 1, summed over a frame's voxels."""

    def __init__(self, recipe: Recipe, num_keypoints: int) -> None:
        net = build_v2v(num_keypoints, width=recipe.width)
        self.net: V2VNet = net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # stub
        self._recipe = recipe
        self.optimiser = _optimiser(recipe, self.net)

    def learn(self, block: Block, progress: float) -> float:
        """See `Trainee.learn`."""
        recipe = self._recipe
        _set_rate(self.optimiser, recipe.learning_rate, progress, recipe.decay_from)
        self.net.train()
        losses = []
        for first in range(0, recipe.block, recipe.batch):
            occupancy = block.occupancy[first : first + recipe.batch]
            keypoints_cell = block.keypoints_cell[first : first + recipe.batch]
            grid = occupancy.float().to(memory_format=torch.channels_last_3d)
            with torch.autocast("cpu", torch.bfloat16):
                heatmaps = self.net(grid)
            target = gaussian_heatmaps(
                keypoints_cell,
                heatmap_side=recipe.heatmap_side,
                sigma_cell=sigma_cell(recipe.heatmap_side),
            )
            loss = nn.functional.mse_loss(heatmaps.float(), target, reduction="sum")
            losses.append(_descend(self.optimiser, loss / len(occupancy)))
        return sum(losses) / len(losses)


class RefinerTrainee:
    """The refiner: squared distance to the bounding box's midpoint (DeepPrior++ section 3.3)."""

    def __init__(self, recipe: Recipe) -> None:
        self.net = Refiner()
        self._recipe = recipe
        self.optimiser = torch.optim.Adam(self.net.parameters())

    def learn(self, block: Block, progress: float) -> float:
        """See `Trainee.learn`."""
        _set_rate(self.optimiser, self._recipe.refiner_learning_rate, progress, 0.3)
        self.net.train()
        offset = self.net(block.refiner_crop)
        return _descend(self.optimiser, ((offset - block.refiner_offset) ** 2).sum(dim=1).mean())


class DetectorTrainee:
    """The detector: penalty-reduced focal loss on centres, absolute error on their depth."""

    def __init__(self, recipe: Recipe) -> None:
        self.net = CentreDetector()
        self._recipe = recipe
        self.optimiser = torch.optim.Adam(self.net.parameters())

    def learn(self, block: Block, progress: float) -> float:
        """See `Trainee.learn`."""
        _set_rate(self.optimiser, self._recipe.detector_learning_rate, progress, 0.3)
        self.net.train()
        logits, depth_m = self.net(block.detector_image)
        target = _centre_heat(block.detector_centre, logits.shape[-2:])  # (N, h, w)
        error_m = (depth_m - block.detector_depth_m[:, None, None]).abs()
        depth_loss = (error_m * target).sum() / target.sum().clamp(min=1)
        return _descend(self.optimiser, _focal_loss(logits, target) + 2 * depth_loss)


def _centre_heat(centre_cell: Tensor, hw: torch.Size) -> Tensor:
    """Return (N, h, w) Gaussians that reach exactly 1 at the cell nearest to each centre."""
    u, v = centre_cell.round().unbind(dim=1)
    rows, cols = (torch.arange(size, dtype=centre_cell.dtype) for size in hw)
    distance2 = (cols - u[:, None])[:, None, :] ** 2 + (rows - v[:, None])[:, :, None] ** 2
    return torch.exp(-distance2 / (2 * _DETECTOR_SIGMA_CELL**2))


def _focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Penalty-reduced focal loss (Law and Deng, CornerNet, section 3.2: alpha 2, beta 4)."""
    score = logits.float().sigmoid()
    positive = target > 0.999  # float32 rounding of exp(0)
    hit = -nn.functional.logsigmoid(logits) * (1 - score) ** 2
    miss = nn.functional.softplus(logits) * score**2 * (1 - target) ** 4
    return torch.where(positive, hit, miss).sum() / positive.sum().clamp(min=1)


def _optimiser(recipe: Recipe, net: nn.Module) -> torch.optim.Optimizer:
    if recipe.optimiser == "adam":
        return torch.optim.Adam(net.parameters())
    return torch.optim.RMSprop(net.parameters(), alpha=0.99, eps=_EPSILON)


def _set_rate(
    optimiser: torch.optim.Optimizer, rate: float, progress: float, decay_from: float
) -> None:
    """Hold the rate, then let it fall to 2 % along half a cosine."""
    after = max(0.0, progress - decay_from) / max(1 - decay_from, 1e-9)
    factor = 0.02 + 0.98 * (1 + math.cos(math.pi * min(after, 1.0))) / 2
    for group in optimiser.param_groups:
        group["lr"] = rate * factor


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> float:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return float(loss.detach())
