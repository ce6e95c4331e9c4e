"""Synthetic depth frames of hands, rendered from a distilled hand rig."""

from v2vpose.datasets.synthetic.hands import HandFrame, SyntheticHands

__all__ = ["HandFrame", "SyntheticHands"]
