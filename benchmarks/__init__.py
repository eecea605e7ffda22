"""Measures Andon against its bare parts: `python -m benchmarks`."""
