"""What every decoder shares: the limits, and the way from an array of readings to millimetres."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from v2vpose.errors import InvalidDepthMapError, InvalidFieldError, PayloadTooLargeError
from v2vpose.values import DepthArray

MAX_DEPTH_UNIT_MM: Final = 1000.0
MAX_DEPTH_MM: Final = 1e6
"""One kilometre: farther than any depth camera sees, near enough to stay exact in float32."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the service accepts.

    Attributes:
        max_body_bytes: of one request's body, or one frame of a stream.
        max_pixels: of one depth map, whatever its bytes compress to.
    """

    max_body_bytes: int = 16 * 2**20
    max_pixels: int = 4 * 2**20

    def check_pixels(self, width: int, height: int) -> None:
        """Check a declared size, before anything of that size is allocated.

        Raises:
            InvalidDepthMapError: a side is zero or negative.
            PayloadTooLargeError: too many pixels.
        """
        if width < 1 or height < 1:
            raise InvalidDepthMapError(
                f"width and height must be >= 1 px, found {width} x {height}"
            )
        if width * height > self.max_pixels:
            raise PayloadTooLargeError(
                f"the depth map declares {width} x {height} = {width * height} pixels, "
                f"at most {self.max_pixels} are accepted"
            )

    def check_bytes(self, size: int) -> None:
        """Check the number of bytes of a body or frame.

        Raises:
            PayloadTooLargeError: too many.
        """
        if size > self.max_body_bytes:
            raise PayloadTooLargeError(
                f"the body has more than {self.max_body_bytes} bytes, the most that is accepted"
            )


def depth_mm_from_array(readings: NDArray[Any], depth_unit_mm: float) -> DepthArray:
    """Return (H, W) float32 millimetres; 0 = no reading.

    Args:
        readings: (H, W) unsigned or floating; NaN and infinity mean "no reading" (REP 117).
        depth_unit_mm: millimetres of one unit.

    Raises:
        InvalidFieldError: the unit is out of range.
        InvalidDepthMapError: a reading is negative, or farther than a kilometre.
    """
    if not (math.isfinite(depth_unit_mm) and 0 < depth_unit_mm <= MAX_DEPTH_UNIT_MM):
        raise InvalidFieldError(
            f"depth_unit_mm must be > 0 and <= {MAX_DEPTH_UNIT_MM:g}, got {depth_unit_mm}"
        )
    if readings.dtype.kind == "u":
        depth_mm = readings.astype(np.float32)
        if depth_unit_mm != 1:
            depth_mm *= np.float32(depth_unit_mm)
        largest = 2 ** (8 * readings.dtype.itemsize) - 1
        if largest * depth_unit_mm <= MAX_DEPTH_MM:
            return depth_mm  # nothing to check: no reading can be out of range
    else:
        wide = np.where(np.isfinite(readings), readings, 0).astype(np.float64)
        with np.errstate(over="ignore"):
            depth_mm = (wide * depth_unit_mm).astype(np.float32)
    nearest, farthest = float(depth_mm.min()), float(depth_mm.max())
    if nearest < 0:
        raise InvalidDepthMapError(
            f"depth must be >= 0, found {nearest:g} mm; write 0 or NaN where there is no reading"
        )
    if farthest > MAX_DEPTH_MM:
        raise InvalidDepthMapError(
            f"depth must be <= {MAX_DEPTH_MM:g} mm, found {farthest:g} mm; check depth_unit_mm"
        )
    return depth_mm
