"""The depth frames that are sent: generated hands, encoded once before the first request."""

import os
from dataclasses import dataclass

import numpy as np

from v2vpose.api.decode.delta import encode_delta_zstd_u16
from v2vpose.api.decode.png import encode_png
from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.datasets.synthetic import SyntheticHands

COUNT = int(os.environ.get("FRAMES", "16"))


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """One frame as REST and as gRPC take it."""

    png: bytes
    query: dict[str, float]
    options: pb.EstimateOptions
    depth: pb.DepthMap


def encoded_frames() -> list[EncodedFrame]:
    """Generate held-out frames; the same ones every time."""
    hands = SyntheticHands(split="held_out", seed=7)
    return [_encoded(hands, index) for index in range(COUNT)]


def _encoded(hands: SyntheticHands, index: int) -> EncodedFrame:
    frame = hands.frame(index)
    pixels = np.round(frame.depth_mm).astype(np.uint16)
    rows, cols = pixels.shape
    camera = frame.intrinsics
    query = {name: getattr(camera, name) for name in ("fx_px", "fy_px", "cx_px", "cy_px")}
    return EncodedFrame(
        png=encode_png(pixels),
        query=query,
        options=pb.EstimateOptions(intrinsics=pb.Intrinsics(**query)),
        depth=pb.DepthMap(
            data=encode_delta_zstd_u16(pixels),
            encoding=pb.ENCODING_DELTA_ZSTD_U16,
            width=cols,
            height=rows,
        ),
    )
