"""The four networks of the paper's Table 1: 2D or 3D input, coordinates or 3D heatmaps as output.

All are the voxel-to-voxel network of `nets.v2v`. A planar one has the two-dimensional twin of every
layer; one that regresses coordinates ends in fully connected layers instead of the output
convolution. With 48 a side in and 24 out they have the paper's 21.1, 4.6, 457.5 and 3.4 M
parameters. The paper gives no more of them than these: twice the channels between first and last
blocks (2D to voxels) and layers of 1024 (coordinates) are what the numbers tell.
"""

from enum import StrEnum
from typing import Final

from torch import Tensor, nn

from v2vpose.nets.v2v import (
    PAPER_WIDTH,
    VolumetricBasicBlock,
    VolumetricResidualBlock,
    build_v2v,
    draw_weights,
)

INPUT_SIDE: Final = 48
HEATMAP_SIDE: Final = 24
_HIDDEN: Final = 1024
_CHANNELS: Final = 2 * PAPER_WIDTH  # what every head reads


class Variant(StrEnum):
    """A row of Table 1: what goes in, what comes out."""

    DEPTH_TO_COORDINATES = "depth-to-coordinates"
    DEPTH_TO_VOXELS = "depth-to-voxels"
    VOXELS_TO_COORDINATES = "voxels-to-coordinates"
    VOXELS_TO_VOXELS = "voxels-to-voxels"

    @property
    def planar(self) -> bool:
        """Whether a 2D depth map goes in: (B, 1, 48, 48) instead of (B, 1, 48, 48, 48)."""
        return self in {Variant.DEPTH_TO_COORDINATES, Variant.DEPTH_TO_VOXELS}

    @property
    def regresses(self) -> bool:
        """Whether coordinates come out: (B, K, 3) instead of (B, K, 24, 24, 24) heatmaps."""
        return self in {Variant.DEPTH_TO_COORDINATES, Variant.VOXELS_TO_COORDINATES}


class CoordinateHead(nn.Sequential):
    """Features flattened into fully connected layers; x, y, z of every keypoint come out."""

    def __init__(self, features: int, num_keypoints: int) -> None:
        super().__init__(
            nn.Flatten(),
            nn.Linear(features, _HIDDEN),
            nn.BatchNorm1d(_HIDDEN),
            nn.ReLU(inplace=True),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.BatchNorm1d(_HIDDEN),
            nn.ReLU(inplace=True),
            nn.Linear(_HIDDEN, 3 * num_keypoints),
            nn.Unflatten(1, (num_keypoints, 3)),
        )


class DepthSlices(nn.Sequential):
    """A 1 x 1 convolution to one plane for each keypoint and depth: (B, K, 24, H, W) heatmaps."""

    def __init__(self, channels: int, num_keypoints: int) -> None:
        super().__init__(
            nn.Conv2d(channels, num_keypoints * HEATMAP_SIDE, 1),
            nn.Unflatten(1, (num_keypoints, HEATMAP_SIDE)),
        )


class AblationNet(nn.Module):
    """A trunk of the V2V blocks and what follows it."""

    def __init__(self, trunk: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(self.features(x))
        return answer

    def features(self, x: Tensor) -> Tensor:
        """Return what the head reads, float32; apart, because only this gains from bfloat16."""
        found: Tensor = self.trunk(x).float()
        return found


def build_ablation(variant: Variant, num_keypoints: int) -> AblationNet:
    """Return the network of one row of Table 1 with the paper's initial weights."""
    trunk, head = _trunk(variant), _head(variant, num_keypoints)
    if variant.planar:
        _flatten(trunk)
    net = AblationNet(trunk, head)
    draw_weights(net)
    return net


def _trunk(variant: Variant) -> nn.Module:
    """Return the V2V net up to its output convolution, 3D still."""
    wide = variant is Variant.DEPTH_TO_VOXELS
    trunk = build_v2v(1, width=2 * PAPER_WIDTH if wide else PAPER_WIDTH)
    trunk.add_module("output", nn.Identity())
    if wide:
        trunk.back = nn.Sequential(
            VolumetricResidualBlock(2 * _CHANNELS, _CHANNELS),
            VolumetricBasicBlock(_CHANNELS, _CHANNELS, kernel=1),
            VolumetricBasicBlock(_CHANNELS, _CHANNELS, kernel=1),
        )
    return trunk


def _head(variant: Variant, num_keypoints: int) -> nn.Module:
    if variant is Variant.VOXELS_TO_VOXELS:
        return nn.Conv3d(_CHANNELS, num_keypoints, 1)
    if variant is Variant.DEPTH_TO_VOXELS:
        return DepthSlices(_CHANNELS, num_keypoints)
    cells = HEATMAP_SIDE ** (2 if variant.planar else 3)
    return CoordinateHead(_CHANNELS * cells, num_keypoints)


def parameters(net: nn.Module) -> int:
    """How many parameters are learnt."""
    return sum(weights.numel() for weights in net.parameters())


def _flatten(module: nn.Module) -> None:
    """Replace every 3D layer by its 2D twin, in place."""
    for name, child in module.named_children():
        twin = _twin(child)
        if twin is None:
            _flatten(child)
        else:
            setattr(module, name, twin)


def _twin(layer: nn.Module) -> nn.Module | None:
    match layer:
        case nn.Conv3d():
            side, padding = layer.kernel_size[0], int(layer.padding[0])
            return nn.Conv2d(layer.in_channels, layer.out_channels, side, padding=padding)
        case nn.ConvTranspose3d():
            return nn.ConvTranspose2d(layer.in_channels, layer.out_channels, 2, stride=2)
        case nn.BatchNorm3d():
            return nn.BatchNorm2d(layer.num_features)
        case nn.MaxPool3d():
            return nn.MaxPool2d(2)
        case _:
            return None
