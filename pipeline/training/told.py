"""Who is told how a training goes."""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.training.checkpoint import Progress, Say, unsaid
from pipeline.training.track import Track, untracked


@dataclass(frozen=True)
class Told:
    """Nobody, unless said otherwise."""

    total: Callable[[int], None] = unsaid
    """The most steps that there may be, before the first."""
    reached: Callable[[Progress], None] = unsaid
    """After each step."""
    say: Say = unsaid
    """What a person should know of the images and of a checkpoint."""
    track: Track = untracked
    """What comes before the steps, and after."""


NOBODY = Told()
