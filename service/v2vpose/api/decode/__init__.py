"""Bytes of a depth map -> millimetres. Everything is bounded by its header before it is inflated.

bytes --(whole, of a known kind, within limits)--> image --(single channel, 16-bit or float)-->
readings --(finite, not negative, times the unit)--> depth_mm. What fails on an arrow has its own
text, which says what was found and what was expected.
"""

from v2vpose.api.decode.checks import Limits, depth_mm_from_array
from v2vpose.api.decode.frames import (
    ROS_ALIASES,
    Encoding,
    decode_frame,
    encode_frame,
    encoding_from_ros,
)
from v2vpose.api.decode.images import MEDIA_TYPES, decode_image

__all__ = [
    "MEDIA_TYPES",
    "ROS_ALIASES",
    "Encoding",
    "Limits",
    "decode_frame",
    "decode_image",
    "depth_mm_from_array",
    "encode_frame",
    "encoding_from_ros",
]
