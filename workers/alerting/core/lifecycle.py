"""The life of one alarm (ISA-18.2 / IEC 62682) as a pure state machine: who may move it, and whereto.

    NORMAL ─raise─▶ UNACK_ACTIVE ─acknowledge─▶ ACK_ACTIVE      (a raise leads back from anywhere)
                        │ clear                     │ clear
                        ▼                           ▼
    latching:      UNACK_LATCHED ─acknowledge─▶ ACK_LATCHED ─reset─▶ NORMAL     (a reset also from ACK_ACTIVE)
    otherwise:     UNACK_RTN ─────acknowledge─▶ NORMAL ◀─────────── ACK_ACTIVE

SHELVED and SUPPRESSED lie over these: the alarm goes on living beneath, and shows again when the cover is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.events import Act, AlarmState

ANDON = "andon"
"""The actor of what no person did."""

_PERSONS = frozenset({Act.ACKNOWLEDGE, Act.RESET, Act.SHELVE})
_ANDONS = frozenset({Act.RAISE, Act.CLEAR, Act.SUPPRESS, Act.UNSUPPRESS, Act.NOTE})

_ACKNOWLEDGED = {
    AlarmState.UNACK_ACTIVE: AlarmState.ACK_ACTIVE,
    AlarmState.UNACK_LATCHED: AlarmState.ACK_LATCHED,
    AlarmState.UNACK_RTN: AlarmState.NORMAL,
}


class ActRefusedError(ValueError):
    """An act that this alarm does not take now. The message says why, for the person who tried."""


@dataclass(frozen=True)
class Deed:
    """One act, with who, when and why."""

    act: Act
    actor: str
    at: datetime
    reason: str = ""
    until: datetime | None = None
    """Of shelving."""


@dataclass(frozen=True)
class Life:
    state: AlarmState = AlarmState.NORMAL
    """Beneath any cover: never SHELVED, never SUPPRESSED."""
    latching: bool = True
    shelved_until: datetime | None = None
    suppressed: bool = False

    @property
    def shown(self) -> AlarmState:
        if self.shelved_until is not None:
            return AlarmState.SHELVED
        return AlarmState.SUPPRESSED if self.suppressed and not self.over else self.state

    @property
    def unacknowledged(self) -> bool:
        return self.state.unacknowledged

    @property
    def active(self) -> bool:
        return self.state.active

    @property
    def over(self) -> bool:
        """Nothing is left of it."""
        return self.state is AlarmState.NORMAL and self.shelved_until is None


def move(life: Life, deed: Deed) -> Life:
    """The alarm after the act. Raises ActRefusedError, and the alarm stays as it was."""
    _permit(deed)
    match deed.act:
        case Act.RAISE:
            return replace(life, state=AlarmState.UNACK_ACTIVE)
        case Act.CLEAR:
            return replace(life, state=_cleared(life))
        case Act.ACKNOWLEDGE:
            if life.state not in _ACKNOWLEDGED:
                raise ActRefusedError("already acknowledged")
            return replace(life, state=_ACKNOWLEDGED[life.state])
        case Act.RESET:
            return _reset(life)
        case Act.SHELVE:
            return _shelve(life, deed)
        case Act.UNSHELVE:
            if life.shelved_until is None:
                raise ActRefusedError("not shelved")
            return replace(life, shelved_until=None)
        case Act.SUPPRESS:
            return replace(life, suppressed=True)
        case Act.UNSUPPRESS:
            return replace(life, suppressed=False)
        case Act.NOTE:
            return life


def _permit(deed: Deed) -> None:
    if not deed.actor.strip():
        raise ActRefusedError("an act needs a name to it")
    if deed.act in _PERSONS and deed.actor == ANDON:
        raise ActRefusedError(f"only a person may {deed.act}")
    if deed.act in _ANDONS and deed.actor != ANDON:
        raise ActRefusedError(f"{deed.act} follows from what is seen; nobody does it by hand")


def _cleared(life: Life) -> AlarmState:
    if life.state is AlarmState.UNACK_ACTIVE:
        return AlarmState.UNACK_LATCHED if life.latching else AlarmState.UNACK_RTN
    if life.state is AlarmState.ACK_ACTIVE:
        return AlarmState.ACK_LATCHED if life.latching else AlarmState.NORMAL
    return life.state


def _reset(life: Life) -> Life:
    """The cause of a stop seldom clears by itself: a held line brings no good parts. So an acknowledged alarm can be
    reset while it is active; the person says that the cause is dealt with, and the old evidence is forgotten."""
    if not life.latching:
        raise ActRefusedError("it ends by itself when its cause is gone")
    if life.unacknowledged:
        raise ActRefusedError("acknowledge the alarm before its reset")
    return Life(latching=life.latching)


def _shelve(life: Life, deed: Deed) -> Life:
    if not deed.reason.strip():
        raise ActRefusedError("shelving needs a reason")
    if deed.until is None or deed.until <= deed.at:
        raise ActRefusedError("shelving needs an end that lies ahead")
    return replace(life, shelved_until=deed.until)
