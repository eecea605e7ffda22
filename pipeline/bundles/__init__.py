"""Bundles that ship with Andon, one folder each, for demonstration. Each has a model card, README.md."""
