"""What runs the nets: arrays in, small arrays out."""

from v2vpose.backends.ports import Backend, LocaliserBackend
from v2vpose.backends.torch_backend import TorchBackend, TorchLocaliser

__all__ = ["Backend", "LocaliserBackend", "TorchBackend", "TorchLocaliser"]
