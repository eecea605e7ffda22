"""Damage of our own making, drawn onto images of good parts."""
