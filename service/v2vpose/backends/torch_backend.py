"""PyTorch: the reference on the CPU, the production backend on CUDA.

On CUDA the peaks are found on the device, so only K x (3 + 1 + 125) numbers a frame come back, and
the whole way from grid to peaks is one graph for each batch size.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from v2vpose.backends.graphs import Capture, Graphed
from v2vpose.heatmaps import PATCH_SIDE, Peaks, peaks_of, slices_through
from v2vpose.nets import CentreDetector, Refiner, V2VNet
from v2vpose.values import FloatArray

_REACH: Final = PATCH_SIDE // 2


class TorchBackend:
    """Runs both nets with PyTorch.

    Args:
        v2v: the V2V net; put into evaluation mode here.
        refiner: the refiner, likewise.
        device: where to run.
        dtype: precision of the V2V net; the refiner always runs in float32, it is nearly free.
        capture: records the way from grid to peaks, see `graphs`; None = run it every time.
    """

    def __init__(
        self,
        v2v: V2VNet,
        refiner: Refiner,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        capture: Capture | None = None,
    ) -> None:
        self._device = torch.device(device)
        self._dtype = dtype
        self._v2v = v2v.eval().to(  # type: ignore[call-overload]  # its stub lacks memory_format
            self._device, dtype, memory_format=torch.channels_last_3d
        )
        self._refiner = refiner.eval().to(self._device)
        self._forward = self._found if capture is None else Graphed(self._found, capture)

    @torch.inference_mode()
    def offsets(self, crops: NDArray[np.float32]) -> FloatArray:
        """See `Backend.offsets`."""
        batch = torch.from_numpy(crops)[:, None].to(self._device)  # (B, 1, 128, 128)
        result: FloatArray = self._refiner(batch).cpu().numpy().astype(np.float64)
        return result

    @torch.inference_mode()
    def peaks(self, occupancy: NDArray[np.uint8], *, with_slices: bool = False) -> Peaks:
        """See `Backend.peaks`."""
        batch = torch.from_numpy(occupancy)[:, None].to(self._device)  # (B, 1, S, S, S)
        if with_slices:
            heatmaps = self._heatmaps(batch).cpu().numpy()
            peaks = peaks_of(heatmaps)
            return replace(peaks, slices=slices_through(heatmaps, peaks.zyx_cell))
        zyx, height, patch = (found.cpu().numpy() for found in self._forward(batch))
        return Peaks(zyx_cell=zyx, height=height, patch=patch)

    def _found(self, occupancy: Tensor) -> Sequence[Tensor]:
        """Return zyx, height and patch of the peaks, on the device."""
        return peaks_on_device(self._heatmaps(occupancy))

    def _heatmaps(self, occupancy: Tensor) -> Tensor:
        """Return (B, K, S, S, S) float32 heatmaps, on the device."""
        batch = occupancy.to(self._dtype, memory_format=torch.channels_last_3d)
        heatmaps: Tensor = self._v2v(batch).float()
        return heatmaps


def peaks_on_device(heatmaps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find peaks and patches of (B, K, D, H, W) heatmaps where they are; equals `peaks_of`."""
    *lead, depth, rows, cols = heatmaps.shape
    volume = heatmaps.reshape(-1, depth, rows, cols)  # (N, D, H, W)
    height, index = volume.reshape(len(volume), -1).max(dim=1)  # (N,)
    zyx = torch.stack([index // (rows * cols), index // cols % rows, index % cols], dim=1)
    offsets = torch.arange(PATCH_SIDE, device=heatmaps.device)
    z, y, x = (zyx[:, axis, None] + offsets for axis in range(3))  # (N, 5), in the padded volume
    padded = nn.functional.pad(volume, (_REACH,) * 6)
    batch = torch.arange(len(volume), device=heatmaps.device)
    patch = padded[
        batch[:, None, None, None], z[:, :, None, None], y[:, None, :, None], x[:, None, None, :]
    ]
    return (
        zyx.reshape(*lead, 3),
        height.reshape(lead),
        patch.reshape(*lead, PATCH_SIDE, PATCH_SIDE, PATCH_SIDE),
    )


class TorchDetector:
    """Runs the detector with PyTorch, float32 on the CPU: a few milliseconds a frame.

    Args:
        detector: the net; put into evaluation mode here.
    """

    def __init__(self, detector: CentreDetector) -> None:
        self._detector = detector.eval()

    @torch.inference_mode()
    def heat(self, image: NDArray[np.float32]) -> tuple[FloatArray, FloatArray]:
        """See `DetectorBackend.heat`."""
        logits, depth_m = self._detector(torch.from_numpy(image)[None])
        return logits[0].sigmoid().numpy(), depth_m[0].numpy()
