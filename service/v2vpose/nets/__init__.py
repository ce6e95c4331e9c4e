"""The networks, one file each: the paper's two, and the two small ones that localise."""

from v2vpose.nets.detector import CentreDetector
from v2vpose.nets.handedness import HandednessNet
from v2vpose.nets.refiner import Refiner
from v2vpose.nets.v2v import V2VNet, build_v2v

__all__ = ["CentreDetector", "HandednessNet", "Refiner", "V2VNet", "build_v2v"]
