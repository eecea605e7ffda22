"""A progress bar for each long loop of a command."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.training.track import Track


def bars_on(console: "Console") -> "Track":
    from rich.progress import track

    def show(numbers: range, doing: str) -> Iterable[int]:
        return track(numbers, doing, console=console)

    return show
