"""A simulated PLC: a small program behind real protocol servers. For the demo, for tests, and to try policies."""
