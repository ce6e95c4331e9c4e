"""3D heatmaps: the training target of equation 1, and the way back to points."""

from v2vpose.heatmaps.gaussian import gaussian_heatmaps
from v2vpose.heatmaps.peaks import PATCH_SIDE, Peaks, peak_coordinates, peaks_of
from v2vpose.heatmaps.slices import mirrored_slices, slices_through

__all__ = [
    "PATCH_SIDE",
    "Peaks",
    "gaussian_heatmaps",
    "mirrored_slices",
    "peak_coordinates",
    "peaks_of",
    "slices_through",
]
