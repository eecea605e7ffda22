"""What one way of asking came to."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    group: str
    choice: str
    auroc: float
    """Image AUROC, mean over the kinds of defects."""
    per_kind: Mapping[str, float]
    alone: float | None
    """The same, but a damaged frame counts only where it was damaged: elsewhere its map is capped at its median. A
    frame's own marks raise the score of its damaged copy, and real defects need not come with them."""
    pixel_auroc: float | None
    ms: float
    """Median time of the network and what follows, for one frame, where the row needs a pass of its own, else of what
    follows alone; the encoder comes on top."""
    images: int

    def as_line(self) -> str:
        """Of a Markdown table."""
        pixel = "–" if self.pixel_auroc is None else f"{self.pixel_auroc:.3f}"
        lowest = min(self.per_kind, key=lambda kind: self.per_kind[kind])
        alone = "–" if self.alone is None else f"{self.alone:.3f}"
        weakest = f"{lowest} {self.per_kind[lowest]:.2f}"
        return f"| {self.group} | {self.choice} | {self.auroc:.3f} | {alone} | {pixel} | {weakest} | {self.ms:.0f} |"
