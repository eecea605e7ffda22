"""Where tables are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def wide_console() -> Console:
    """rich takes a pipe or a log file for 80 columns wide, and would cut them."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=120)
