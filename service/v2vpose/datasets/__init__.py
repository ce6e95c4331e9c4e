"""Labelled frames: data sets on disk, and generated ones."""
