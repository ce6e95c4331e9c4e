"""What runs the nets: arrays in, small arrays out."""

from v2vpose.backends.ports import Backend, DetectorBackend
from v2vpose.backends.torch_backend import TorchBackend, TorchDetector

__all__ = ["Backend", "DetectorBackend", "TorchBackend", "TorchDetector"]
