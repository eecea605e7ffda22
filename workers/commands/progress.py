"""A progress bar for each long loop of a command."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pipeline.telling import Every

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.training.track import Track

LOG_EVERY_S = 30.0


class LogLines:
    """What a log is told instead: there a bar shows nothing before its end, which may be hours away."""

    def __init__(self, console: "Console", every_s: float) -> None:
        self._console = console
        self._due = Every(every_s).due
        self._due()  # what is over sooner needs no line

    def reached(self, sentence: str) -> None:
        if not self._console.is_terminal and self._due():
            self._console.print(sentence, markup=False, highlight=False)

    def told(self, numbers: range, doing: str) -> Iterator[int]:
        for done, number in enumerate(numbers):
            self.reached(f"{doing}: {done} of {len(numbers)}")
            yield number


def bars_on(console: "Console", log_every_s: float = LOG_EVERY_S) -> "Track":
    from rich.progress import track

    def show(numbers: range, doing: str) -> Iterable[int]:
        told = LogLines(console, log_every_s).told(numbers, doing)
        return track(told, doing, total=len(numbers), console=console)

    return show
