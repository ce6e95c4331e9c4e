"""The two-dimensional block that the small nets beside the paper's share."""

from torch import nn


class ConvBlock(nn.Sequential):
    """3 x 3 convolution, batch normalisation, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )
