"""Mends the stored states of lines, with every worker stopped."""
