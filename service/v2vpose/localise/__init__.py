"""Where to look: the first reference point, and the crops around it."""

from v2vpose.localise.crop import CROP_PX, mirrored_crop, refiner_crop, target_crop
from v2vpose.localise.detector import Detection, detections, detector_image
from v2vpose.localise.threshold import first_reference_point

__all__ = [
    "CROP_PX",
    "Detection",
    "detections",
    "detector_image",
    "first_reference_point",
    "mirrored_crop",
    "refiner_crop",
    "target_crop",
]
