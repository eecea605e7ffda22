"""Where a score lies among the normals that its model was calibrated on."""

from collections.abc import Mapping


def rank(score: float, quantiles: Mapping[str, float]) -> float | None:
    """The share of the normals at or below the score, between the quantiles that the bundle stores.

    quantiles: level → score, as in `bundle.json`. 0 below the lowest, and 1 above the highest: what lies beyond is not
    known; None where none are stored. Where several levels share one score, as with many equal normals, the highest of
    them counts.
    """
    if not quantiles:
        return None
    known = sorted((float(level), value) for level, value in quantiles.items())
    below = [(level, value) for level, value in known if value <= score]
    above = [(level, value) for level, value in known if value > score]
    if not below:
        return 0.0
    if not above:
        return 1.0 if score > below[-1][1] else below[-1][0]
    (low_level, low), (high_level, high) = below[-1], above[0]
    return low_level + (high_level - low_level) * (score - low) / (high - low)
