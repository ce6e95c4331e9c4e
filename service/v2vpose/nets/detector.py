"""A small detector of target centres on the whole depth map.

Not in the paper, which publishes centres instead of a way to find them. One heatmap for each class
(right hand, left hand) at a quarter of the input's resolution, and the depth of the centre beside
them; so one net says where, how far, which hand, and how sure it is. About 60 MMAC at 160 x 120.
"""

from typing import Final

import torch
from torch import Tensor, nn

DETECTOR_CHANNELS: Final = 3  # depth in metres, whether there is a reading, pixel pitch in cm
DETECTOR_CLASSES: Final = 2  # right hand, left hand
DETECTOR_STRIDE: Final = 4
DETECTOR_STEP: Final = 16  # the input's sides must be multiples of this


class _ConvBlock(nn.Sequential):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class CentreDetector(nn.Module):
    """Depth map in, logits of target centres and their depth out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _ConvBlock(DETECTOR_CHANNELS, 16, stride=2), _ConvBlock(16, 32, stride=2)
        )
        self.fourth = _ConvBlock(32, 32)
        self.eighth = nn.Sequential(_ConvBlock(32, 64, stride=2), _ConvBlock(64, 64))
        self.sixteenth = nn.Sequential(
            _ConvBlock(64, 96, stride=2), _ConvBlock(96, 96), _ConvBlock(96, 96)
        )
        self.up_eighth = _ConvBlock(96 + 64, 64)
        self.up_fourth = _ConvBlock(64 + 32, 32)
        self.output = nn.Conv2d(32, DETECTOR_CLASSES + 1, 1)
        nn.init.constant_(self.output.get_parameter("bias"), -2.0)  # begin by seeing nothing

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        fourth = self.fourth(self.stem(image))  # (B, 3, H, W) -> (B, 32, H/4, W/4)
        eighth = self.eighth(fourth)  # (B, 64, H/8, W/8)
        x = _twice(self.sixteenth(eighth))  # (B, 96, H/8, W/8)
        x = _twice(self.up_eighth(torch.cat([x, eighth], dim=1)))  # (B, 64, H/4, W/4)
        x = self.output(self.up_fourth(torch.cat([x, fourth], dim=1)))  # (B, 3, H/4, W/4)
        return x[:, :DETECTOR_CLASSES], x[:, DETECTOR_CLASSES:]  # logits, depth in metres


def _twice(x: Tensor) -> Tensor:
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
