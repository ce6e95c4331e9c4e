"""The voxel-to-voxel network (paper, section 6.1, figures 3 and 5).

Axes: B batch, C channels, then depth, height, width = z, y, x.
With base width 16 and an 88^3 input this is the paper's network: 3,409,760 + 33 K parameters.
Fully convolutional: the input side may be any multiple of 8, the heatmaps have half as many cells.
"""

import torch
from torch import Tensor, nn

WEIGHT_STD = 0.001  # section 6.3: weights drawn from N(0, 0.001)
PAPER_WIDTH = 16


class VolumetricBasicBlock(nn.Sequential):
    """Convolution, batch normalisation, ReLU (figure 3a)."""

    def __init__(self, channels_in: int, channels_out: int, *, kernel: int) -> None:
        super().__init__(
            nn.Conv3d(channels_in, channels_out, kernel, padding=kernel // 2),
            nn.BatchNorm3d(channels_out),
            nn.ReLU(inplace=True),
        )


class VolumetricResidualBlock(nn.Module):
    """Two 3^3 convolutions beside a skip connection, projected if channels change (figure 3b)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv3d(channels_in, channels_out, 3, padding=1),
            nn.BatchNorm3d(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv3d(channels_out, channels_out, 3, padding=1),
            nn.BatchNorm3d(channels_out),
        )
        self.skip: nn.Module = nn.Identity()
        if channels_in != channels_out:
            self.skip = nn.Sequential(
                nn.Conv3d(channels_in, channels_out, 1), nn.BatchNorm3d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.main(x) + self.skip(x))


class VolumetricDownsamplingBlock(nn.MaxPool3d):
    """Max pooling, kernel 2 and stride 2 (figure 3c)."""

    def __init__(self) -> None:
        super().__init__(kernel_size=2, stride=2)


class VolumetricUpsamplingBlock(nn.Sequential):
    """Deconvolution, kernel 2 and stride 2, batch normalisation, ReLU (figure 3d)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            nn.ConvTranspose3d(channels_in, channels_out, kernel_size=2, stride=2),
            nn.BatchNorm3d(channels_out),
            nn.ReLU(inplace=True),
        )


class EncoderDecoder(nn.Module):
    """Two levels down and up again, a skip connection at each (figure 5)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.skip1 = VolumetricResidualBlock(width, width)
        self.down1 = VolumetricDownsamplingBlock()
        self.encode1 = VolumetricResidualBlock(width, 2 * width)
        self.skip2 = VolumetricResidualBlock(2 * width, 2 * width)
        self.down2 = VolumetricDownsamplingBlock()
        self.encode2 = VolumetricResidualBlock(2 * width, 4 * width)
        self.middle = VolumetricResidualBlock(4 * width, 4 * width)
        self.decode2 = VolumetricResidualBlock(4 * width, 4 * width)
        self.up2 = VolumetricUpsamplingBlock(4 * width, 2 * width)
        self.decode1 = VolumetricResidualBlock(2 * width, 2 * width)
        self.up1 = VolumetricUpsamplingBlock(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        half = self.encode1(self.down1(x))  # (B, 2w, 22, 22, 22)
        quarter = self.encode2(self.down2(half))  # (B, 4w, 11, 11, 11)
        quarter = self.decode2(self.middle(quarter))
        half = self.decode1(self.up2(quarter) + self.skip2(half))  # (B, 2w, 22, 22, 22)
        full: Tensor = self.up1(half) + self.skip1(x)  # (B, w, 44, 44, 44)
        return full


class V2VNet(nn.Module):
    """Occupancy in, one heatmap per keypoint out (figure 5)."""

    def __init__(self, *, num_keypoints: int, width: int) -> None:
        super().__init__()
        self.front = nn.Sequential(
            VolumetricBasicBlock(1, width, kernel=7),
            VolumetricDownsamplingBlock(),
            VolumetricResidualBlock(width, 2 * width),
            VolumetricResidualBlock(2 * width, 2 * width),
            VolumetricResidualBlock(2 * width, 2 * width),
        )
        self.encoder_decoder = EncoderDecoder(2 * width)
        self.back = nn.Sequential(
            VolumetricResidualBlock(2 * width, 2 * width),
            VolumetricBasicBlock(2 * width, 2 * width, kernel=1),
            VolumetricBasicBlock(2 * width, 2 * width, kernel=1),
        )
        self.output = nn.Conv3d(2 * width, num_keypoints, kernel_size=1)

    def forward(self, occupancy: Tensor) -> Tensor:
        x = self.front(occupancy)  # (B, 1, 88, 88, 88) -> (B, 32, 44, 44, 44)
        x = self.back(self.encoder_decoder(x))  # (B, 32, 44, 44, 44)
        heatmaps: Tensor = self.output(x)  # (B, K, 44, 44, 44)
        return heatmaps


def build_v2v(num_keypoints: int, *, width: int = PAPER_WIDTH) -> V2VNet:
    """Return a network with the paper's initial weights; `width` is the first block's channels."""
    net = V2VNet(num_keypoints=num_keypoints, width=width)
    draw_weights(net)
    return net


def draw_weights(net: nn.Module) -> None:
    """Give every convolution the paper's initial weights, N(0, 0.001), and no bias."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            nn.init.normal_(module.weight, std=WEIGHT_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
