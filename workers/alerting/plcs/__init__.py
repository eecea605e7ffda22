"""Levels to PLCs and back: one driver a line, in front of an actuator."""
