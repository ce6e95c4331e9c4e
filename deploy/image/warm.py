"""Compile what numba compiles in the service, into NUMBA_CACHE_DIR, by using each once."""

import numpy as np

from v2vpose.api.decode.rvl import decode_rvl, encode_rvl
from v2vpose.estimator.aggregated import aggregated
from v2vpose.geometry.cubic_box import CubicBox
from v2vpose.localise import refiner_crop, target_crop
from v2vpose.values import Aggregate, DepthArray, DepthFrame, Intrinsics, MemberAnswer
from v2vpose.voxel import voxelize

ROWS, COLS = 240, 320
FOCAL_PX = 320.0
SIDE_MM = 250.0
AHEAD_MM = np.array([0.0, 0.0, 500.0])


def main() -> None:
    """Go the way of a depth map, but for the nets, with the types that the service has there."""
    camera = Intrinsics(fx_px=FOCAL_PX, fy_px=FOCAL_PX, cx_px=COLS / 2, cy_px=ROWS / 2)
    frame = DepthFrame(np.full((ROWS, COLS), AHEAD_MM[2], dtype=np.float32), camera)
    decode_rvl(encode_rvl(frame.depth_mm.astype(np.uint16)), width=COLS, height=ROWS)
    crop = target_crop(frame, AHEAD_MM, side_mm=SIDE_MM, reach_mm=SIDE_MM)
    box = CubicBox(center_mm=AHEAD_MM, side_mm=SIDE_MM)
    whole = np.ascontiguousarray(crop.depth_mm)  # as it lies in shared memory
    for depth_mm in (whole, _other(whole)):
        refiner_crop(depth_mm, crop.intrinsics, AHEAD_MM, side_mm=SIDE_MM)
        voxelize(depth_mm, crop.intrinsics, box, input_side=88)
    said = MemberAnswer(AHEAD_MM[None], np.ones(1), AHEAD_MM, occupied_vox=1)
    aggregated([said], camera, frame.hw, Aggregate.MEAN)


def _other(depth_mm: DepthArray) -> DepthArray:
    """Return it writable if it is not, and the reverse: to numba these are two types."""
    other = depth_mm.copy()
    other.flags.writeable = not depth_mm.flags.writeable
    return other


if __name__ == "__main__":
    main()
