"""Frames on disk while Kafka is away: bounded, first in first out, and still there after a restart.

A folder holds `lock`, `state.json` and numbered segments. One thread alone uses a spool.
"""
