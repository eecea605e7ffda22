"""Tells files that lost a part of their image."""
