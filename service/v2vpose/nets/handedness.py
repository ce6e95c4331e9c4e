"""A small classifier: does this crop show a right hand?

Not in the paper, whose data sets hold one hand each. It sees the refiner's crop; about 25 MMAC.
"""

from typing import Final

from torch import Tensor, nn

from v2vpose.nets.blocks import ConvBlock

HANDEDNESS_FEATURES: Final = 256


class HandednessNet(nn.Module):
    """The refiner's crop in, the logit of "a right hand" out."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            ConvBlock(1, 16, stride=2),  # (B, 16, 64, 64)
            ConvBlock(16, 32, stride=2),  # (B, 32, 32, 32)
            ConvBlock(32, 64, stride=2),  # (B, 64, 16, 16)
            ConvBlock(64, 64),
            ConvBlock(64, 96, stride=2),  # (B, 96, 8, 8)
            ConvBlock(96, 32),
            nn.Flatten(),
            nn.Linear(32 * 8 * 8, HANDEDNESS_FEATURES),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(HANDEDNESS_FEATURES, 1)

    def forward(self, crop: Tensor) -> Tensor:
        logit: Tensor = self.head(self.features(crop))[:, 0]  # (B, 1, 128, 128) -> (B,)
        return logit
