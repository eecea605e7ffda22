"""A child process held by its handle: stopped politely, killed, paused and resumed."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from workers.local.errors import ServiceError
from workers.local.spawner import spawn

_KILL_TIMEOUT_S = 10.0
_TAIL_LINES = 15


class ChildProcess:
    """One run of a program. What it prints goes to `log`; the run before is kept beside it as `….previous`."""

    def __init__(
        self, name: str, argv: Sequence[str], log: Path, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        self._paused = False
        self._asked = False
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists():
            log.replace(log.with_name(log.name + ".previous"))
        with log.open("wb") as output:
            self._process = spawn(argv, output, cwd, environment)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def paused(self) -> bool:
        return self._paused and self.running

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def stop(self, grace_s: float) -> None:
        """Ask it to end, wait, and insist. Whatever interrupts the wait, the process is gone afterwards."""
        try:
            self.ask_to_end()
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()
        except BaseException:
            self.kill()
            raise

    def ask_to_end(self) -> None:
        """SIGTERM, once; returns at once."""
        self.resume()  # a stopped process would never see the signal
        if not self._asked:
            self._asked = True
            self._process.terminate()

    def kill(self) -> None:
        self._process.kill()
        try:
            self._process.wait(_KILL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise ServiceError(
                f"{self.name} (process {self.pid}) did not end {_KILL_TIMEOUT_S:g} s after SIGKILL: "
                "it hangs in the kernel, often on a dead disk or network drive"
            ) from None

    def pause(self) -> None:
        """Freeze it, as a machine that hangs: its connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)
        # One thread takes the signal for all, and until it gets a core, which takes a while under load, others go on.
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        self._paused = True

    def resume(self) -> None:
        if self.paused:
            self._signal(signal.SIGCONT)
        self._paused = False

    def log_tail(self) -> str:
        """The last lines that it printed, for an error message."""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 64 * 1024))
            text = log.read().decode(errors="replace").splitlines()
        return "\n".join(f"  | {line}" for line in text[-_TAIL_LINES:]) or "  | (it printed nothing)"

    def _signal(self, number: signal.Signals) -> None:
        if not self.running:
            raise ServiceError(f"{self.name} is not running (exit code {self.exit_code}); see {self.log}")
        self._process.send_signal(number)
