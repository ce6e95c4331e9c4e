"""From a depth map to an occupancy grid."""

from v2vpose.voxel.occupancy import voxelize

__all__ = ["voxelize"]
