"""Who waits for a long command sees that it goes on, also in a file or a log that no bar can be drawn into."""

from io import StringIO

import pytest
from rich.console import Console

from workers.commands.progress import bars_on
from workers.commands.training_bar import TrainingBar

pytestmark = pytest.mark.unit


def test_a_loop_tells_a_log_how_far_it_is_while_it_runs() -> None:
    log = StringIO()
    for number in bars_on(Console(file=log), log_every_s=0)(range(3), "scoring"):
        if number == 2:
            assert log.getvalue().splitlines() == ["scoring: 0 of 3", "scoring: 1 of 3", "scoring: 2 of 3"]


def test_a_training_tells_a_log_its_step_and_loss_while_it_runs() -> None:
    from pipeline.training.checkpoint import Progress

    log = StringIO()
    with TrainingBar(Console(file=log), log_every_s=0) as bar:
        bar.told.total(300)
        bar.told.reached(Progress("a run", step=41, elapsed_s=9.0, loss=0.5))
        assert log.getvalue().splitlines() == ["training: 41 of 300, loss 0.5000"]
        for _ in bar.told.track(range(1), "encoding"):
            assert log.getvalue().splitlines()[1:] == ["encoding: 0 of 1"]


def test_what_is_soon_over_leaves_a_log_without_lines_in_between() -> None:
    log = StringIO()
    numbers = list(bars_on(Console(file=log))(range(3), "scoring"))
    assert numbers == [0, 1, 2]
    assert " of " not in log.getvalue()


def test_a_terminal_has_its_bar_and_no_lines() -> None:
    terminal = StringIO()
    assert list(bars_on(Console(file=terminal, force_terminal=True), log_every_s=0)(range(3), "scoring")) == [0, 1, 2]
    assert " of " not in terminal.getvalue()
