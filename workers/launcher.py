"""Becomes the program in its arguments, after asking Linux to kill it as soon as its parent is gone.

Runs as a program of its own (`python launcher.py PARENT_PID PROGRAM ARGUMENT…`) and replaces itself, so the process id
stays the one that the parent knows. Done here and not in the parent's `preexec_fn`, which may deadlock where the
parent has threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent_pid: int, argv: list[str]) -> None:
    # SIGKILL, not SIGTERM: a child that was stopped (SIGSTOP) or hangs would outlive a polite request.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit("the parent ended before its child began")
    os.execv(argv[0], argv)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
