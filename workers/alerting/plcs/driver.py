"""Keeps one line's PLC at the level that was ordered: a thread for each line, so that a hung PLC holds up no other."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from pipeline.boot_time import boot_time_s
from pipeline.events import Action, Outcome, now
from pipeline.kafka.lease import Lease
from workers.alerting.actuators.base import Actuator, ActuatorError, GaveWayError, LeaseLostError, ReadBack
from workers.alerting.core.reports import Answer, Link, Report
from workers.alerting.plcs import drive
from workers.alerting.plcs.drive import Order, Proof

log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.1
LAST_RETRY_S = 2.0
LINK_DOWN_AFTER = 3
"""Exchanges that fail in a row before it is an alarm."""
HEARTBEATS = 1 << 16
LOOK_FIRST_AFTER_S = 2.0
TAKEN_AWAY_S = 60.0
"""For so long a stop has to stand again before the alarm that it was taken away at the line is over."""
HOLDS_ITSELF = (
    "holds the line by its own program, and for no stop that stands: its watchdog, where nobody watched the line for a "
    "while, or a stop that was taken back and not reset there since. Look why, and reset it there"
)
MOST_REASONS = 8
"""Why a PLC can't be worked with is told at once, each reason when it is first seen and no more than so many."""
TELL_AGAIN_S = 60.0
"""What was told before, or is one reason too many, is told where it is what is true now, but no sooner than so long
after the last: a PLC that goes from one fault to the other and back would fill the audit log with each exchange."""
_NUMBERS = re.compile(r"\d+")
_GOOD = {Outcome.ACCEPTED, Outcome.DUPLICATE}


class Driver:
    """Writes as long as the lease is held, and never a stop that is void. Orders may come from any thread."""

    def __init__(
        self,
        line_id: str,
        actuator: Actuator,
        lease: Lease,
        report: Callable[[Report], None],
        *,
        cycle_s: float,
        clock: Callable[[], datetime] = now,
        exchanged: Callable[[str, float, bool], None] = lambda line_id, seconds, good: None,
    ) -> None:
        self.line_id = line_id
        self._actuator = actuator
        self._lease = lease
        self._report = report
        self._cycle_s = cycle_s
        self._clock = clock
        self._exchanged = exchanged
        self._changed = threading.Condition()
        self._order: Order | None = None
        self._done: Order | None = None
        """What was taken up last; a new one does not wait for the cycle."""
        self._alive_until_s = 0.0
        self._looked = False
        """Whether the worker has looked at the line since it has it. What is written before takes the run permit of a
        line that is watched well."""
        self._ended = False
        self._heartbeat = 0
        self._found: ReadBack | None = None
        """What was last read in this epoch."""
        self._heard_at_s = 0.0
        self._heard_in_term = 0
        """Of the lease. In another, an answer that this process slept on would pass for one of just now."""
        self._took_s = 0.0
        self._taken_away_at_s = float("-inf")
        self._freed: object = None
        """The release after which the line was read without a stop. One that stands there later is another's, although
        another signal keeps the release from being confirmed."""
        self._held_for_us = False
        """Whether the hold that was read last is of a stop of ours, or what is left of one until somebody resets it."""
        self._fenced_epoch = -1
        self._answered: tuple[object, Outcome] | None = None
        self._attempts = 0
        self._failures = 0
        self._link: tuple[int, bool] | None = None
        """Epoch, and whether it can be worked with: what an exchange tells that began before a takeover counts for
        nothing, and has to be told again."""
        self._reasons: list[str] = []
        """Told of that link, the newest last, without their numbers: those of a heartbeat or a time change with each
        exchange."""
        self._told_at_s = 0.0
        self._thread = threading.Thread(target=self._run, name=f"plc-{line_id}", daemon=True)
        self._thread.start()

    def order(self, order: Order) -> None:
        with self._changed:
            if self._order != order:
                if self._order is None or self._order.epoch != order.epoch:
                    self._found = None
                if self._order is None or _id(self._order) != _id(order):
                    self._attempts = 0
                self._order = order
                self._changed.notify()

    def alive(self, for_s: float) -> None:
        """The line's frames are scored and read. Holds for so long; then it has to be said again."""
        self._watch(time.monotonic() + for_s)

    def silence(self) -> None:
        self._watch(0.0)

    def _watch(self, alive_until_s: float) -> None:
        with self._changed:
            self._alive_until_s, self._looked = alive_until_s, True
            self._changed.notify()

    def end(self) -> None:
        """Begins no write any more. Leaves the signals as they are: the PLC's watchdog tells the line."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        pause_s = self._cycle_s
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._ended or self._waits(), pause_s)
                    if self._ended:
                        return
                    order = self._taken_up()
                if order is None or not self._lease.held:
                    pause_s = self._cycle_s
                    continue
                try:
                    self._turn(order)
                except GaveWayError:
                    self._heard_at_s = boot_time_s()
                except LeaseLostError:
                    log.warning("line %s: the lease is lost, nothing is written", self.line_id)
                    pause_s = self._cycle_s
                except ActuatorError as error:
                    self._failed(order, error)
                    pause_s = min(LAST_RETRY_S, FIRST_RETRY_S * 2 ** min(self._failures, 10))
                except Exception as error:
                    # A fault of ours must not leave a line without its driver.
                    log.exception("line %s: exchange with %s", self.line_id, self._actuator.address)
                    self._failed(order, ActuatorError(f"{type(error).__name__}: {error}"))
                    pause_s = LAST_RETRY_S
                else:
                    pause_s = self._cycle_s
        finally:
            self._actuator.close()

    def _waits(self) -> bool:
        """Whether there is an order that was not taken up yet, and may be."""
        order = self._order
        return order is not None and order is not self._done and (self._looked or order.stops)

    def _taken_up(self) -> Order | None:
        if self._waits():
            self._done = self._order
        return self._done

    def _turn(self, order: Order) -> None:
        seen: ReadBack | None = None
        fenced, term = order.epoch <= self._fenced_epoch, self._lease.term
        if fenced or term != self._heard_in_term or boot_time_s() - self._heard_at_s > LOOK_FIRST_AFTER_S:
            # After a pause, for whatever reason: another may have written meanwhile. Looks before it writes. Gives
            # way to no stop, which would have to look, too.
            seen = self._actuator.read()
            if seen.is_ahead_of(order.epoch):
                self._fence(order, seen)
                return
            if fenced:  # the epoch was set back there; how the line stands is to be seen as if for the first time
                self._fenced_epoch, self._found = -1, None
            if seen.heartbeat is not None:
                # Begun at another number, the very first write would move it, for a line that nobody watches, too.
                self._heartbeat = seen.heartbeat % HEARTBEATS
            # Repeated before each write, it would take the turn of the write at a gateway that bears few requests.
            self._heard_at_s, self._heard_in_term = boot_time_s(), term
        elif not self._failures and (
            order.may_release
            or (self._took_s < self._cycle_s and (order.action is Action.REJECT or self._stands_for_now(order)))
        ):
            # Not of a PLC that bears few requests, nor of a slow one but for a release: there the write goes before.
            seen = self._actuator.read(lambda: self._stop_waits(order))
            if seen.is_ahead_of(order.epoch):
                self._fence(order, seen)
                return
        if seen and self._stands_for_now(order):  # what another has set since, the next heartbeat would write over
            if order.action is not None and not drive.applied(order, seen):
                self._tell_taken_away(order, seen)
                if not order.stops and seen.asks_to_stop:
                    return
            if order.action is None and seen.stands_stopped and self._found and not self._found.stands_stopped:
                self._look(order, seen)
                return
        order = replace(order, over_own=order.over_own and self._freed != _id(order))
        known = self._found if order.action is None and not order.may_release else seen or self._found
        if seen and self._stop_waits(order):
            return  # a stop that was asked for while the line was looked at
        if drive.may_write(order, known, self._clock()) or self._look(order, seen):
            self._write(order, seen)

    def _stands_for_now(self, order: Order) -> bool:
        """Whether the line was seen as it is ordered, so that who changes it is another."""
        return order.proved if order.action is not None else self._found is not None and not order.may_release

    def _write(self, order: Order, seen: ReadBack | None) -> None:
        """`seen`: what was read just before."""
        alive = time.monotonic() < self._alive_until_s
        heartbeat = (self._heartbeat + 1) % HEARTBEATS if alive else self._heartbeat
        wanted = drive.image(order, heartbeat, alive=alive)
        self._attempts += 1
        began = time.perf_counter()
        with self._lease.use():
            found = self._actuator.exchange(wanted, self._guard(order), lambda: self._stop_waits(order))
        at = self._clock()
        self._heartbeat, self._failures = heartbeat, 0
        self._took_s = time.perf_counter() - began
        self._exchanged(self.line_id, self._took_s, True)
        self._found, self._heard_at_s = found, boot_time_s()
        match drive.judge(wanted, found):
            case Proof.PROVED:
                self._held_for_us = bool(found.held) and (self._held_for_us or order.stops or order.may_release)
                if found.held and not self._held_for_us:
                    self._tell_link(order, False, f"{self._actuator.address} {HOLDS_ITSELF}")
                elif boot_time_s() - self._taken_away_at_s > TAKEN_AWAY_S:
                    self._tell_link(order, True)
                gone = seen is not None and order.proved and order.action is not None and not drive.applied(order, seen)
                outcome = Outcome.DUPLICATE if order.proved else Outcome.ACCEPTED
                self._answer(order, outcome, found, at, "it stood no more, and was written again" if gone else "")
            case Proof.WRONG:
                # Not by a PLC that shows its defaults while it starts, and then what it kept: our own stop, it may be.
                if order.may_release and not found.asks_to_stop and found.epoch in (None, order.epoch):
                    self._freed = _id(order)
                self._answer(order, Outcome.REJECTED, found, at, f"wanted {wanted.level}, read {found}")
                self._tell_link(order, False, f"{self._actuator.address} stands otherwise than written: {found}")
            case Proof.FENCED:
                self._fence(order, found)

    def _tell_taken_away(self, order: Order, found: ReadBack) -> None:
        """It is written again at once, and would be read back as if it had stood all the time: of a PLC whose program,
        or another master, takes it away, nobody would ever hear."""
        self._taken_away_at_s = boot_time_s()
        detail = f"{order.action} was taken away at {self._actuator.address}, and not by a reset ({found})"
        then = "is written again each time" if order.stops or not found.asks_to_stop else "waits until that is free"
        self._tell_link(order, False, f"{detail}. It {then}: look who else writes there, or whether it lost its power")

    def _fence(self, order: Order, found: ReadBack) -> None:
        """Nothing is written any more until this worker takes the line over anew, or the epoch there is set back."""
        detail = (
            f"{self._actuator.address} has taken epoch {found.epoch}, this worker has {order.epoch}: it writes nothing "
            "there, no stop either. Where no other worker drives it, as after it was another line's: set its epoch to 0"
        )
        self._fenced_epoch = order.epoch
        self._tell_link(order, False, detail)

    def _look(self, order: Order, seen: ReadBack | None) -> bool:
        """Without writing: at first contact, and at what is void or waits. Whether it may be written now. `seen`: what
        was read just before; a slow PLC is not asked for it again."""
        found = seen or self._actuator.read(lambda: self._stop_waits(order))
        at = self._clock()
        self._failures = 0
        first = self._found is None
        self._found = found
        if order.action is None or not order.is_void(at):
            if drive.is_anothers(order, found):
                detail = f"{self._actuator.address} is stopped ({found}), and not by an order that Andon knows"
                detail = f"{detail}. It is left as it is; free it there, if need be by hand: RUN"
                self._tell_link(order, False, detail, left_stopped=True)
                return False
            return first
        if drive.applied(order, found):
            self._answer(order, Outcome.ACCEPTED, found, at, "read back after it was void for writing")
        else:
            self._answer(order, Outcome.EXPIRED, found, at, "void before the line confirmed it")
        return False

    def _stop_waits(self, order: Order) -> bool:
        newest = self._order
        return not order.stops and newest is not None and newest.stops

    def _guard(self, order: Order) -> Callable[[], None]:
        """The last look before the bytes leave: the lease, the order, and the clock."""

        def check() -> None:
            if not self._lease.held or self._lease.term != self._heard_in_term or self._ended:
                raise LeaseLostError
            if order.is_void(self._clock()):
                raise ActuatorError("the command became void before it could be written")

        return check

    def _failed(self, order: Order, error: ActuatorError) -> None:
        self._failures += 1
        self._exchanged(self.line_id, 0.0, False)
        if self._failures == 1:
            log.warning("line %s: %s: %s", self.line_id, self._actuator.address, error)
        if self._failures >= LINK_DOWN_AFTER:
            self._tell_link(order, False, f"{self._actuator.address} can't be worked with: {error}")
        if order.is_void(self._clock()):
            # Whether it got through is not known. It is not written again; the next answer of the PLC tells.
            self._answer(order, Outcome.REJECTED, None, self._clock(), f"no answer before it was void: {error}")

    def _answer(self, order: Order, outcome: Outcome, found: ReadBack | None, at: datetime, detail: str = "") -> None:
        """Once for each command, as long as it goes well or badly."""
        if order.command is None:
            return
        stop_gone = order.may_release and self._freed == _id(order)
        # An answer of an earlier epoch counts for nothing, so it is none yet.
        asked = order.epoch, _id(order), stop_gone
        told, self._answered = self._answered, (asked, outcome)
        if told and told[0] == asked and (told[1] is outcome or {told[1], outcome} == _GOOD):
            return
        value = None if found is None else str(found)
        self._report(
            Answer(
                self.line_id,
                order.epoch,
                order.command.command_id,
                outcome,
                self._actuator.address,
                value,
                self._attempts,
                at,
                detail,
                stop_gone,
            )
        )

    def _tell_link(self, order: Order, up: bool, detail: str = "", *, left_stopped: bool = False) -> None:
        """A PLC that comes back otherwise than it went, stopped by another or of a later epoch, has to say so: who only
        heard that nothing answered would look for it in the network."""
        link, reason = (order.epoch, up), _NUMBERS.sub("", detail)
        at_s = boot_time_s()
        told = reason in self._reasons or len(self._reasons) == MOST_REASONS
        if self._link != link:
            self._link, self._reasons = link, []
        elif reason == self._reasons[-1] or (told and at_s - self._told_at_s < TELL_AGAIN_S):
            return
        self._reasons, self._told_at_s = [*self._reasons, reason][-MOST_REASONS:], at_s
        log.log(logging.INFO if up else logging.ERROR, "line %s: %s", self.line_id, detail or "the PLC answers")
        self._report(Link(self.line_id, order.epoch, up, self._clock(), detail, left_stopped))


def _id(order: Order) -> object:
    return order.command and order.command.command_id
