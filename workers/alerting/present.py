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
AHEAD_FOR_S = 10.0
"""For so long all that is read must seem old before it is this clock that is said to be ahead."""
JITTER_S = 5.0


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
        self._ahead_since: tuple[datetime, float] | None = None
        """Like `_heard`, of the first in a row that came one by one, and each long ago by this machine's clock."""
        self._told_ahead = False

    def heard(self, arrived_ms: int) -> None:
        """When a record arrived at the broker that has just been read."""
        self._heard = from_ms(arrived_ms), self._monotonic_s()
        self._tell_ahead(*self._heard)

    def _tell_ahead(self, arrived: datetime, at_s: float) -> None:
        """Only tells: what was read late looks alike at first, and who takes it for news stops lines for old parts. But
        what was read late comes faster than it arrived."""
        ahead = self._own() - arrived
        if ahead <= BORNE:
            self._ahead_since, self._told_ahead = None, False
            return
        since = self._ahead_since
        if since is None or (arrived - since[0]).total_seconds() > at_s - since[1] + JITTER_S:
            self._ahead_since = arrived, at_s
        elif at_s - since[1] >= AHEAD_FOR_S and not self._told_ahead:
            self._told_ahead = True
            log.error(
                "this machine's clock is %.0f s ahead of Kafka's: parts look too old to stop their line, cameras "
                "silent, and acts too old to be done. Look at NTP",
                ahead.total_seconds(),
            )

    def __call__(self) -> datetime:
        own, heard = self._own(), self._heard
        if heard is None:
            return own
        at_least = heard[0] + timedelta(seconds=round(self._monotonic_s() - heard[1], 3))
        behind = at_least - own > BORNE
        if behind and not self._behind:
            seconds = (at_least - own).total_seconds()
            log.error(
                "this machine's clock is %.0f s behind Kafka's, which is taken instead: look at NTP on both. Where it "
                "is Kafka's that is ahead, parts look too old to stop their line, and acts too old to be done",
                seconds,
            )
        self._behind = behind
        return at_least if behind else own
