"""The reference-point refiner (paper, section 4; the ScaleNet of DeepPrior++, section 3.3).

Three branches see the same 128 x 128 crop at three fields of view; no padding anywhere.
3,567,651 parameters, 10.09 MMAC.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn

_FILTERS: Final = 8
_HIDDEN: Final = 1024
_FLAT: Final = 8 * (11 * 11 + 11 * 11 + 8 * 8)


class RefinerBranch(nn.Sequential):
    """Three convolutions over one field of view."""

    def __init__(self, *, first_pool: int, second_pool: int) -> None:
        super().__init__(
            nn.Conv2d(1, _FILTERS, 5),
            nn.MaxPool2d(first_pool),
            nn.ReLU(inplace=True),
            nn.Conv2d(_FILTERS, _FILTERS, 5),
            nn.MaxPool2d(second_pool),
            nn.ReLU(inplace=True),
            nn.Conv2d(_FILTERS, _FILTERS, 3),
            nn.ReLU(inplace=True),
            nn.Flatten(),
        )


class Refiner(nn.Module):
    """Crop around a first reference point in, offset to the target's centre out."""

    def __init__(self) -> None:
        super().__init__()
        self.field_128 = RefinerBranch(first_pool=4, second_pool=2)
        self.field_64 = RefinerBranch(first_pool=2, second_pool=2)
        self.field_32 = RefinerBranch(first_pool=2, second_pool=1)
        last = nn.Linear(_HIDDEN, 3)
        self.head = nn.Sequential(
            nn.Linear(_FLAT, _HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(0.3),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(0.3),
            last,
        )
        self._initialise(last)

    def forward(self, crop: Tensor) -> Tensor:
        features = torch.cat(
            [
                self.field_128(crop),  # (B, 1, 128, 128) -> (B, 968)
                self.field_64(crop[..., 32:96, 32:96]),  # (B, 968)
                self.field_32(crop[..., 48:80, 48:80]),  # (B, 512)
            ],
            dim=1,
        )
        offset: Tensor = self.head(features)  # (B, 3), in halves of the crop's cube edge
        return offset

    def _initialise(self, last: nn.Linear) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        bound = math.sqrt(6 / (_HIDDEN + 3))
        nn.init.uniform_(last.weight, -bound, bound)
