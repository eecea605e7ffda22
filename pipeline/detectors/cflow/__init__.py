"""CFLOW-AD: anomaly detection with conditional normalizing flows (arXiv 2107.12571)."""
