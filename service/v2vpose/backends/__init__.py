"""What runs the nets: arrays in, small arrays out."""

from v2vpose.backends.choice import BackendName, BackendWish, NetShape, chosen_backend
from v2vpose.backends.ports import Backend, DetectorBackend
from v2vpose.backends.torch_backend import TorchBackend, TorchDetector

__all__ = [
    "Backend",
    "BackendName",
    "BackendWish",
    "DetectorBackend",
    "NetShape",
    "TorchBackend",
    "TorchDetector",
    "chosen_backend",
]
