"""RADAR: single-step, reconstruction-free anomaly detection with diffusion (arXiv 2508.04818)."""
