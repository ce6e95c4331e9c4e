"""Synthetic depth frames of hands and bodies, rendered from distilled rigs."""

from v2vpose.datasets.synthetic.bodies import BodyFrame, SyntheticBodies
from v2vpose.datasets.synthetic.hands import HandFrame, SyntheticHands

__all__ = ["BodyFrame", "HandFrame", "SyntheticBodies", "SyntheticHands"]
