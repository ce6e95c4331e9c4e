"""From frames to epoch checkpoints."""
