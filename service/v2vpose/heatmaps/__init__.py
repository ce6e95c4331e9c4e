"""3D heatmaps: the training target of equation 1, and the way back to points."""

from v2vpose.heatmaps.gaussian import gaussian_heatmaps
from v2vpose.heatmaps.peaks import PATCH_SIDE, Peaks, peak_coordinates, peaks_of

__all__ = ["PATCH_SIDE", "Peaks", "gaussian_heatmaps", "peak_coordinates", "peaks_of"]
