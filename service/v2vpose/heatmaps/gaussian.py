"""The training target (paper, section 6.2, equation 1).

H(i, j, k) = exp(-((i - i_n)^2 + (j - j_n)^2 + (k - k_n)^2) / (2 sigma^2)), not cut off, peak 1.
The paper's sigma is 1.7 cells of a 44-cell heatmap: 3.9 % of the box, whatever the grid.
"""

from typing import Final

import torch
from torch import Tensor

SIGMA_CELL: Final = 1.7
SIGMA_HEATMAP_SIDE: Final = 44


def sigma_cell(heatmap_side: int) -> float:
    """Return the paper's sigma scaled to a heatmap of another size (1.7 at 44)."""
    return SIGMA_CELL * heatmap_side / SIGMA_HEATMAP_SIDE


def gaussian_heatmaps(xyz_cell: Tensor, *, heatmap_side: int, sigma_cell: float) -> Tensor:
    """Return (..., S, S, S) heatmaps indexed z, y, x for (..., 3) points x, y, z in cells."""
    cells = torch.arange(heatmap_side, dtype=xyz_cell.dtype, device=xyz_cell.device)  # (S,)
    profile = torch.exp(-((cells - xyz_cell[..., None]) ** 2) / (2 * sigma_cell**2))  # (..., 3, S)
    x, y, z = profile.unbind(dim=-2)  # (..., S) each
    return z[..., :, None, None] * y[..., None, :, None] * x[..., None, None, :]
