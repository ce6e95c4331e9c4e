"""Synthetic depth frames of hands, rendered from a distilled hand rig, and of scenes without."""

from v2vpose.datasets.synthetic.empty import EmptyFrame, EmptyScenes
from v2vpose.datasets.synthetic.hands import HandFrame, SyntheticHands

__all__ = ["EmptyFrame", "EmptyScenes", "HandFrame", "SyntheticHands"]
