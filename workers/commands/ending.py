"""Which signals ask a command that runs on to end in good order."""

import signal
import threading


def polite_signals() -> tuple[signal.Signals, ...]:
    """A supervisor's, and that of a terminal that is closed, unless the command was begun to outlive it (`nohup`)."""
    outlives_terminal = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM,) if outlives_terminal else (signal.SIGTERM, signal.SIGHUP)


def ends_by_signal() -> threading.Event:
    """Set once Ctrl-C or a polite signal asks. For the main thread."""
    asked = threading.Event()
    for number in (signal.SIGINT, *polite_signals()):
        signal.signal(number, lambda *_: asked.set())
    return asked
