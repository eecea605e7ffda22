"""Detectors under test. Each module is run as a process of its own by `benchmarks.detectors`."""
