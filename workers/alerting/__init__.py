"""Scores in, alarms and line commands out. See docs/alerting.md."""
