"""Synthetic depth frames of hands and bodies, rendered from distilled rigs; scenes without any."""

from v2vpose.datasets.synthetic.bodies import BodyFrame, SyntheticBodies
from v2vpose.datasets.synthetic.empty import EmptyFrame, EmptyScenes
from v2vpose.datasets.synthetic.hands import HandFrame, SyntheticHands

__all__ = [
    "BodyFrame",
    "EmptyFrame",
    "EmptyScenes",
    "HandFrame",
    "SyntheticBodies",
    "SyntheticHands",
]
