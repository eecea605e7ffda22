"""How an alarm stands, and what moves it."""

import uuid
from enum import StrEnum

from pydantic import Field

from pipeline.events.contract import SCHEMA_VERSION, Contract, Name, Version
from pipeline.events.moments import Moment
from pipeline.events.score import ModelRef


class Act(StrEnum):
    """What moves an alarm (ISA-18.2). Acknowledge, reset and shelving are a person's; a restart of the line is none."""

    RAISE = "raise"
    CLEAR = "clear"
    """The cause is gone. A latching alarm stands all the same."""
    ACKNOWLEDGE = "acknowledge"
    RESET = "reset"
    SHELVE = "shelve"
    """A person puts an alarm aside for a while. It hides the alarm and changes nothing at the line."""
    UNSHELVE = "unshelve"
    SUPPRESS = "suppress"
    """Andon hides an alarm that another one explains."""
    UNSUPPRESS = "unsuppress"
    NOTE = "note"


class AlarmState(StrEnum):
    """ISA-18.2 / IEC 62682. SHELVED and SUPPRESSED hide one of the others, which `Alarm.beneath` names."""

    NORMAL = "NORMAL"
    UNACK_ACTIVE = "UNACK_ACTIVE"
    ACK_ACTIVE = "ACK_ACTIVE"
    UNACK_RTN = "UNACK_RTN"
    """Returned to normal before anybody acknowledged."""
    UNACK_LATCHED = "UNACK_LATCHED"
    """The cause is gone, nobody has acknowledged, and it stays until reset."""
    ACK_LATCHED = "ACK_LATCHED"
    """The cause is gone, somebody has seen it, and it stays until reset."""
    SHELVED = "SHELVED"
    SUPPRESSED = "SUPPRESSED"

    @property
    def active(self) -> bool:
        """Whether its cause is there now."""
        return self in (AlarmState.UNACK_ACTIVE, AlarmState.ACK_ACTIVE)

    @property
    def unacknowledged(self) -> bool:
        return self in (AlarmState.UNACK_ACTIVE, AlarmState.UNACK_RTN, AlarmState.UNACK_LATCHED)


class AlarmKind(StrEnum):
    DEFECTS = "defects"
    """k of the last n parts NOT_OK: stops the line."""
    NOT_INSPECTED = "not_inspected"
    """Too many of the last frames NOT_DECIDABLE."""
    LATE = "late"
    """Defects found too late to stop for: the parts are long gone."""
    COMMON_CAUSE = "common_cause"
    """Many cameras of a line at once: more likely light or model than defects."""
    FLOOD = "flood"
    """More alarms than a person can attend to."""
    CAMERA_SILENT = "camera_silent"
    """A camera whose frames are not scored any more."""
    DRIFT = "drift"
    """The scores of a camera have moved away from the calibration of its model. For maintenance; moves no limit."""
    STOPS_SPENT = "stops_spent"
    """The stop budget of this shift is used up: from here on alarms only."""
    NOT_STOPPED = "not_stopped"
    """A stop was asked for, and the PLC did not confirm it."""
    PLC = "plc"
    """The PLC is away, refuses, or stands otherwise than Andon left it."""


class Evidence(Contract):
    """The debounce evidence: k bad parts of the last n, and the frames that show them."""

    k: int
    """Bad parts (or, of `not_inspected`, frames) among the last `n`."""
    n: int
    """How many were looked back on."""
    bad_parts: tuple[str, ...]
    """The newest of them."""
    frame_ids: tuple[str, ...]
    """The newest frames that show them."""
    map_keys: tuple[str, ...] = ()
    """Redis hashes of these frames, as `Score.map_key`."""


class Alarm(Contract):
    """One change of one alarm's state. The latest per `alarm_id` is the alarm as it stands."""

    schema_version: Version = SCHEMA_VERSION
    alarm_id: uuid.UUID
    """UUIDv5 of line, episode, kind and number: the same change written twice is the same alarm."""
    episode_id: str
    """What belongs together: a line's alarms from the first that may stop it to the reset. Others have one each."""
    kind: AlarmKind
    """What was seen."""
    line_id: Name
    camera_id: Name
    state: AlarmState
    """How the alarm stands after this change."""
    beneath: AlarmState | None = None
    """Where the alarm is SHELVED or SUPPRESSED: how it would stand otherwise."""
    latching: bool = True
    """Whether it stays until reset even when its cause is gone."""
    first: bool = False
    """First in its group: what began the episode."""
    shelved_until: Moment | None = None
    """Where a person has shelved it."""
    act: Act
    """What moved it."""
    revision: int = Field(ge=1)
    """Counts the changes of this alarm."""
    actor: str
    """'andon' or the name of the person who acted."""
    operation_id: uuid.UUID | None = None
    """The operation that this change answers. A NOTE that answers one is a refusal; `reason` says why."""
    reason: str
    """For people: what was seen, or what the person said."""
    changed_at: Moment
    """When this change was decided."""
    raised_at: Moment
    """When the alarm was raised."""
    captured_at: Moment
    """Of the newest frame of the evidence."""
    evidence: Evidence
    """Empty (`k` 0) where no frames led to it."""
    score: float | None
    """Of the frame that completed the evidence; null where no frame led to it."""
    threshold: float | None
    """That this frame was judged by."""
    model: ModelRef | None
    """Which model judged it."""
    traceparent: str | None = None
    """Of the decision to raise it, where one frame led to it."""

    @property
    def underneath(self) -> AlarmState:
        """How it stands but for what hides it: never SHELVED, never SUPPRESSED."""
        return self.beneath or self.state
