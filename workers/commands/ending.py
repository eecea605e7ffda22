"""Which signals ask a command that runs on to end in good order."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType


def polite_signals() -> tuple[signal.Signals, ...]:
    """A supervisor's, and that of a terminal that is closed, unless the command was begun to outlive it (`nohup`)."""
    outlives_terminal = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM,) if outlives_terminal else (signal.SIGTERM, signal.SIGHUP)


def ends_as_by_ctrl_c() -> None:
    """A supervisor's SIGTERM and a closed terminal end everything in order, too. For the main thread."""
    for number in polite_signals():
        signal.signal(number, signal.default_int_handler)


def ends_by_signal() -> threading.Event:
    """Set once Ctrl-C or a polite signal asks. For the main thread."""
    asked = threading.Event()
    for number in (signal.SIGINT, *polite_signals()):
        signal.signal(number, lambda *_: asked.set())
    return asked


class Printer:
    """For a command that prints what comes until it is told to stop. Behind a pager that shows the first page, or a
    program that hangs, a print may wait for ever; asked to end, it is given up."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        """Set once Ctrl-C or a polite signal asks. For the main thread."""
        self._at_it = False
        for number in (signal.SIGINT, *polite_signals()):
            signal.signal(number, self._end)

    def _end(self, *_: object) -> None:
        self.stop.set()
        if self._at_it:
            raise KeyboardInterrupt

    @contextmanager
    def printing(self) -> Iterator[None]:
        """Around each print, and nothing else: what is within may be cut short."""
        self._at_it = True
        try:
            if self.stop.is_set():
                raise KeyboardInterrupt
            yield
        finally:
            self._at_it = False

    def __enter__(self) -> "Printer":
        return self

    def __exit__(self, _: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        """Whoever reads has had enough, or takes nothing: that is no fault of ours."""
        given_up = isinstance(error, BrokenPipeError | KeyboardInterrupt)
        if given_up:  # Python would try once more at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return given_up
