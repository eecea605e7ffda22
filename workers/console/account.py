"""The account of every frame, drawn on request: it reads every image of the span, so one at a time and on a thread."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.audit.accounting import CameraAccount
from pipeline.audit.take_stock import take_stock
from pipeline.errors import AndonError
from pipeline.events import now
from pipeline.settings import Settings

SPAN = timedelta(minutes=15)


@dataclass(frozen=True)
class Account:
    cameras: tuple[CameraAccount, ...] = ()
    drawn_at: datetime | None = None
    running: bool = False
    fault: str | None = None


class Accountant:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self.latest = Account()

    def draw(self) -> None:
        """Begins, unless one is being drawn."""
        with self._lock:
            if self.latest.running:
                return
            self.latest = Account(self.latest.cameras, self.latest.drawn_at, running=True)
        threading.Thread(target=self._draw, name="console-account", daemon=True).start()

    def _draw(self) -> None:
        at = now()
        try:
            self.latest = Account(tuple(take_stock(self._settings, since=at - SPAN)), at)
        except AndonError as error:
            self.latest = Account(self.latest.cameras, self.latest.drawn_at, fault=str(error))
        except Exception as error:  # or the button would stay grey for ever
            self.latest = Account(fault=f"{type(error).__name__}: {error}")
