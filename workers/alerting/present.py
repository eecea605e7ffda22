"""What time it is at the plant, for who must not take old parts for fresh ones."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from pipeline.events import from_ms, now

log = logging.getLogger(__name__)

BORNE = timedelta(minutes=1)
"""So far behind the broker's clock this machine's may be: it is the broker's that may be wrong. By more, replicas would
call every frame late, and no line would be stopped anyway."""


class Present:
    """This machine's clock, or the broker's where this one is far behind it.

    A record came before now, so its time of arrival says how late it is at least. A machine whose clock is an hour
    behind would else take a backlog of an hour for parts that lie before the camera, and stop their line. One that is
    ahead finds parts older than they are, and stops nothing. What is read last counts: a broker's clock may be set
    right, too.
    """

    def __init__(self, own: Callable[[], datetime] = now, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._own = own
        self._monotonic_s = monotonic_s
        self._heard: tuple[datetime, float] | None = None
        """The broker's time, at the least, and ours by the clock that nobody sets."""
        self._behind = False

    def heard(self, arrived_ms: int) -> None:
        """When a record arrived at the broker that has just been read."""
        self._heard = from_ms(arrived_ms), self._monotonic_s()

    def __call__(self) -> datetime:
        own, heard = self._own(), self._heard
        if heard is None:
            return own
        at_least = heard[0] + timedelta(seconds=round(self._monotonic_s() - heard[1], 3))
        behind = at_least - own > BORNE
        if behind and not self._behind:
            seconds = (at_least - own).total_seconds()
            log.error("this machine's clock is %.0f s behind Kafka's, which is taken instead: look at NTP", seconds)
        self._behind = behind
        return at_least if behind else own
