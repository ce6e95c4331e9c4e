"""V2V-PoseNet as a service: a depth map goes in, 3D keypoints come out."""

__version__ = "0.1.0"
