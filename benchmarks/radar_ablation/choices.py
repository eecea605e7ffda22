"""RADAR's open choices, each beside the default."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Other:
    """Another choice than the default: of what the front sees, of the network, or of its training."""

    group: str
    choice: str
    config: Mapping[str, object] = field(default_factory=dict)
    plan: Mapping[str, object] = field(default_factory=dict)
    bordered: bool = True
    """Whether the network is told how far the borders are."""


_WHITE_FRONTS = (
    Other("conditioning", "one ring: position unknown", {"rings": 1}),
    Other("conditioning", "frames divided by their mean gray level", {"even_exposure": True}),
    Other("whitening", "by all fibres of normals", {"loud_share": 0.0}),
    Other("directions", "all", {"standing_out": 0.0}),
    Other("directions", "all, fibres one by one", {"standing_out": 0.0, "around_cells": 1}),
    Other("directions", "where damage stands out, fibres one by one", {"around_cells": 1}),
)
FRONTS: Mapping[str, Sequence[Other]] = {
    "features": (
        *_WHITE_FRONTS,
        Other("views", "native size alone", {"shrinks": (1,)}),
        Other("views", "half size alone", {"shrinks": (2,)}),
    ),
    "wavelets": (
        *_WHITE_FRONTS,
        Other("views", "native and half size", {"shrinks": (1, 2)}),
        Other("views", "native, half and quarter size", {"shrinks": (1, 2, 4)}),
        Other("contrast", "gray levels as they are", {"contrast_px": 0}),
        Other("contrast", "divided by the mean over 31 px", {"contrast_px": 31}),
    ),
    "pixels": (
        Other("contrast", "gray levels as they are", {"contrast_px": 0}),
        Other("contrast", "divided by the mean over 31 px", {"contrast_px": 31}),
        Other("contrast", "divided by the mean over 127 px", {"contrast_px": 127}),
        Other("resolution", "half size", {"scale": 2}),
        Other("resolution", "network on every second pixel", {"fold": 2}),
    ),
}
"""Space → what the front sees. In features and of wavelets the untrained network already is a distance, and these rows
are of it; in pixels each has a network of its own."""
TRAININGS = (
    Other("schedule", "linear", {"beta_schedule": "linear"}),
    Other("schedule", "scaled linear", {"beta_schedule": "scaled_linear"}),
    Other("patches", "32 px", {"patch_px": 32}),
    Other("patches", "64 px", {"patch_px": 64}),
    Other("widths", "half", {"channels": (32, 48)}),
    Other("widths", "double", {"channels": (128, 192)}),
    Other("training", "three times as long", plan={"steps": 900}),
    Other("training", "timesteps up to the last", plan={"max_timestep": 1000}),
    Other("conditioning", "network without the border's channels", bordered=False),
)
"""In every space, each with a network of its own, at the timestep where noise and image are as in the default."""
