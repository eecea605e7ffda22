"""Which directions of whitened features tell damage from good parts.

White fibres vary equally in every direction, and the distance of a fibre from the mean adds all of them up. Damage goes
some ways and hardly others, so most of that sum is grain. How damage of no particular kind (`damage.py`) moves fibres
shows which ways: a few numbers out of many draws, nothing that could learn the look of those draws.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

_FEWEST = 8
_TINY = 1e-6


def spread_of(changes: Iterable[Tensor], channels: int) -> Tensor:
    """changes: (F, C) each, by how much damage moved white fibres → (C, C): how much of it goes which way, 1 in a
    direction of the average. Each fibre counts alike, lest the boldest damage decide. Without any: the identity."""
    products, count = torch.zeros(channels, channels, dtype=torch.float64), 0
    for change in changes:
        unit = torch.nn.functional.normalize(change.double(), dim=1)
        products += unit.T @ unit
        count += len(unit)
    if not count:
        return torch.eye(channels, dtype=torch.float64)
    return products * (channels / count)


def standing_out(spread: Tensor, least: float) -> Tensor:
    """(C, C) → (C, K): the directions in which damage goes at least `least` times as far as on average, the furthest
    first; never fewer than 8 of them (or all that there are)."""
    shares, directions = torch.linalg.eigh(spread)
    fewest = min(_FEWEST, len(shares))
    kept = max(fewest, int((shares >= least - _TINY).sum()))
    furthest: Tensor = directions.flip(1)[:, :kept].contiguous()
    return furthest
