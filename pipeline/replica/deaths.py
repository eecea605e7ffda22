"""Dead frames in the log. `frames.dead` holds them all, and the metric counts them; this is for who reads along."""

import logging
import time
from collections.abc import Callable, Iterable

from pipeline.events import DeadReason
from pipeline.scoring import Dead
from pipeline.telling import Every

log = logging.getLogger("ray.serve")

_TELL_AGAIN_S = 10.0


class Deaths:
    """Of each reason one frame every so often: a camera with a wrong recipe would write millions of lines a day."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._telling = {reason: Every(_TELL_AGAIN_S, clock) for reason in DeadReason}

    def tell(self, dead: Iterable[Dead]) -> None:
        for one in dead:
            telling = self._telling[one.reason]
            if telling.due():
                more = f" ({telling.untold} more for this reason since the last line)" if telling.untold else ""
                log.warning("frame at %s is dead: %s: %s%s", one.record.place, one.reason, one.detail, more)
