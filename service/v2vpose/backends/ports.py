"""What a member asks of the library that runs its nets."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from v2vpose.heatmaps import Peaks
from v2vpose.values import FloatArray


class Backend(Protocol):
    """One epoch checkpoint's refiner and V2V net on one device."""

    def offsets(self, crops: NDArray[np.float32]) -> FloatArray:
        """Run the refiner: (B, 128, 128) crops to (B, 3) offsets in halves of the crop's cube."""
        ...

    def peaks(self, occupancy: NDArray[np.uint8], *, with_slices: bool = False) -> Peaks:
        """Run the V2V net: (B, S, S, S) occupancy z, y, x to the peaks of (B, K) heatmaps."""
        ...


class DetectorBackend(Protocol):
    """The detector of first reference points on one device."""

    def heat(self, image: NDArray[np.float32]) -> tuple[FloatArray, FloatArray]:
        """Run the detector: (3, H, W) to (h, w) scores 0..1 and (h, w) depth in metres."""
        ...
