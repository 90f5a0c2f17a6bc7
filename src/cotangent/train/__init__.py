"""Training: metrics, checkpoints, and what a run writes."""
