"""Accuracy: distances between what was found and what is true."""
