"""The networks, one file each: the paper's two, and a detector of first reference points."""

from v2vpose.nets.detector import CentreDetector
from v2vpose.nets.refiner import Refiner
from v2vpose.nets.v2v import V2VNet, build_v2v

__all__ = ["CentreDetector", "Refiner", "V2VNet", "build_v2v"]
