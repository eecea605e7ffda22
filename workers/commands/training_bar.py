"""How a training is shown to who waits for it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from workers.commands.progress import LOG_EVERY_S, LogLines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from pipeline.training.checkpoint import Progress as Reached
    from pipeline.training.told import Told


class TrainingBar:
    """Steps, loss and the time left, for any method; and what comes before and after, each with a bar of its own."""

    def __init__(self, console: "Console | None" = None, log_every_s: float = LOG_EVERY_S) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        doing, loss = TextColumn("{task.description}"), TextColumn("{task.fields[loss]}")
        self._bar = Progress(doing, BarColumn(), MofNCompleteColumn(), loss, TimeRemainingColumn(), console=console)
        self._log = LogLines(self._bar.console, log_every_s)
        self._steps: int | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    @property
    def told(self) -> "Told":
        from pipeline.training.told import Told

        return Told(self._total, self._reached, self._say, self._track)

    def _total(self, steps: int) -> None:
        self._steps = steps

    def _reached(self, progress: "Reached") -> None:
        if self._task is None:
            self._task = self._bar.add_task("training", total=self._steps, loss="")
        loss = f"loss {progress.loss:.4f}"
        self._bar.update(self._task, completed=progress.step, loss=loss)
        self._log.reached(f"training: {progress.step} of {self._steps}, {loss}")

    def _say(self, sentence: str) -> None:
        self._bar.console.print(sentence, markup=False)

    def _track(self, numbers: range, doing: str) -> Iterable[int]:
        task = self._bar.add_task(doing, total=len(numbers), loss="")
        return self._bar.track(self._log.told(numbers, doing), total=len(numbers), task_id=task)
