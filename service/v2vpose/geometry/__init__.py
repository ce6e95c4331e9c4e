"""Pure functions between pixels, the camera frame and the cubic box. NumPy only."""
