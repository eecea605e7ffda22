"""The sum of every frame, over the raw topics."""
