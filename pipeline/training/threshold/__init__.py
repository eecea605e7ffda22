"""From scores of good parts to a threshold, and what it promises."""
