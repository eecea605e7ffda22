"""The wire contracts. Frozen and versioned: a subscriber in any language needs these and no more.

A `Frame` travels as Kafka headers beside the image bytes (see `Frame.to_headers`); every other event is JSON.
Times are UTC with millisecond precision; a name ends in its unit.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

SCHEMA_VERSION: Literal[1] = 1

Headers = Sequence[tuple[str, bytes]]

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME, description="Letters, digits, '_', '.' and '-'; at most 64.")]


CHECK = "andon-check"
"""Camera, line and station of the frame that `andon check` sends. It is scored and accounted for as any, and is on no
line: nothing is judged by it, and no page shows it."""

MAX_SEQUENCE = 2**63 - 1


class ContractError(ValueError):
    """A record that does not keep its contract. The message says which field and what was expected."""


def now() -> datetime:
    """UTC, cut to milliseconds, so that an event equals itself after a trip over the wire."""
    return from_ms(int(datetime.now(UTC).timestamp() * 1000))


def from_ms(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def to_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _iso_ms(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _can_be_reckoned_with(moment: datetime) -> datetime:
    """At the ends of the calendar, adding a second or turning to UTC raises OverflowError."""
    if not 1 < moment.year < 9999:
        raise ValueError("no moment that can be reckoned with: give a year from 2 to 9998")
    return moment


Moment = Annotated[
    AwareDatetime, AfterValidator(_can_be_reckoned_with), PlainSerializer(_iso_ms, return_type=str, when_used="json")
]


Version = Annotated[Literal[1], Field(description="Of the contract. Fields may be added within it, never changed.")]


class _Contract(BaseModel):
    """Readers ignore fields that they do not know, so a newer writer may add some within one schema version."""

    # NaN and infinity are no JSON: Andon would write them as null, and no reader take that for a number.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, use_attribute_docstrings=True)

    def to_json(self) -> bytes:
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, value: bytes | None) -> Self:
        """Raises ContractError for anything but a whole event of this schema version."""
        try:
            return cls.model_validate_json(value or b"")
        except ValidationError as error:
            raise ContractError(f"not a {cls.__name__} event: {_sentence(error)}") from error


def _sentence(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'value'}: {e['msg']}" for e in error.errors(include_url=False))


class Frame(_Contract):
    """The facts of one captured image. `camera_id`, `boot_id` and `sequence` together name it for ever."""

    schema_version: Version = SCHEMA_VERSION
    camera_id: Name
    line_id: Name
    station_id: Name
    recipe: Name
    """What is being made, hence which bundle judges it."""
    boot_id: Name
    """One run of one camera worker. Sorts by start time."""
    sequence: int = Field(ge=0, le=MAX_SEQUENCE)
    """Counts every captured frame of this boot from 0, also those that are dropped later."""
    part_id: str = Field(min_length=1, max_length=128)
    """The inspected part. Several frames may show one part."""
    captured_at: Moment
    """When the camera had the picture."""
    content_type: Literal["image/png", "image/jpeg"]
    """Of the image."""
    repeats: int = Field(default=0, ge=0)
    """How many frames in a row, directly before this one, held the same bytes. A camera that froze shows here."""
    traceparent: str | None = Field(default=None, max_length=128)
    """W3C trace context, when the producer sends one."""

    @property
    def frame_id(self) -> str:
        return f"{self.camera_id}:{self.boot_id}:{self.sequence}"

    def to_headers(self) -> list[tuple[str, bytes]]:
        """Kafka headers, all UTF-8 text; `captured_at` as Unix milliseconds."""
        return [("frame_id", self.frame_id.encode())] + [
            (name, str(to_ms(value) if isinstance(value, datetime) else value).encode())
            for name, value in self.__dict__.items()
            if value is not None
        ]

    @classmethod
    def from_headers(cls, headers: Headers) -> Self:
        """Raises ContractError for missing or wrong headers, another schema version, a frame_id that belies them."""
        facts = _decode_headers(headers)
        claimed = facts.pop("frame_id", None)
        missing = [name for name, field in cls.model_fields.items() if name not in facts and field.is_required()]
        if missing:
            raise ContractError(f"header {', '.join(missing)} is missing")
        if "schema_version" not in facts:
            raise ContractError("header schema_version is missing")
        if facts["schema_version"] != str(SCHEMA_VERSION):
            raise ContractError(
                f"schema_version {facts['schema_version']!r} is unknown; this reader knows {SCHEMA_VERSION}"
            )
        try:
            captured_at = from_ms(int(facts["captured_at"]))
        except (ValueError, OverflowError, OSError) as error:
            raise ContractError(f"header captured_at {facts['captured_at']!r} is not Unix milliseconds") from error
        try:
            frame = cls.model_validate({**facts, "schema_version": SCHEMA_VERSION, "captured_at": captured_at})
        except ValidationError as error:
            raise ContractError(f"header {_sentence(error)}") from error
        if claimed is not None and claimed != frame.frame_id:
            raise ContractError(
                f"header frame_id {claimed!r} belies camera, boot and sequence, which say {frame.frame_id!r}"
            )
        return frame


def _decode_headers(headers: Headers) -> dict[str, str]:
    try:
        return {name: value.decode() for name, value in headers}
    except (UnicodeDecodeError, AttributeError) as error:
        raise ContractError("a header is not UTF-8 text") from error


class Verdict(StrEnum):
    OK = "OK"
    NOT_OK = "NOT_OK"
    NOT_DECIDABLE = "NOT_DECIDABLE"
    """Not inspected, which is never the same as no defect (OPC 40001-101)."""


class Doubt(StrEnum):
    """Why a frame is NOT_DECIDABLE: it could be decoded, but not judged."""

    FROZEN = "frozen"
    DARK = "dark"
    BRIGHT = "bright"
    BLURRED = "blurred"
    LATE = "late"
    FUTURE = "future"
    WRONG_SIZE = "wrong_size"


class DeadReason(StrEnum):
    """Why a frame can't be scored."""

    CONTRACT = "contract"
    """Missing or wrong headers, or another schema version."""
    UNKNOWN_CAMERA = "unknown_camera"
    """No recipe knows this camera or what it says it looks at."""
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    """More bytes, or more pixels once decoded, than is allowed (a decompression bomb, for instance)."""
    UNDECODABLE = "undecodable"
    DUPLICATE_SEQUENCE = "duplicate_sequence"
    """A frame id that an earlier, different frame already used."""
    SCORING_FAILED = "scoring_failed"
    """The model raised, or what looks at the picture before it did. The frame may be all right."""
    UNREADABLE = "unreadable"
    """The record itself can't be read: a codec, a header's name, damage on disk. Its place is all that is known."""


MAX_LABEL = 256


class ModelRef(_Contract):
    """Which model judged."""

    bundle: str = Field(max_length=MAX_LABEL)
    """Its name."""
    method: str = Field(max_length=MAX_LABEL)
    """Such as radar or cflow."""
    hash: str = Field(max_length=MAX_LABEL)
    """Of weights, hyper-parameters and threshold together."""


class KafkaPosition(_Contract):
    topic: str
    """With the prefix of the factory."""
    partition: int
    """Within the topic."""
    offset: int
    """Within the partition."""


class ShadowSkip(StrEnum):
    """Why the shadow did not look at a frame. The live verdict stands all the same."""

    BACKLOG = "backlog"
    """Frames wait in Kafka: they go first."""
    SLOW = "slow"
    """It did not answer in time, or its last pass is not over yet or was so slow that it rests."""
    FAILED = "failed"
    """It raised."""
    NOT_LOADED = "not_loaded"
    """Its bundle is not there or does not fit."""


class ShadowScore(_Contract):
    """What the bundle that is tried beside the live one says of the same frame. It moves nothing."""

    bundle: str
    """As the recipe names it."""
    verdict: Verdict | None
    """None where it did not look, which `skipped` explains."""
    skipped: ShadowSkip | None = None
    """Why it did not look."""
    doubts: tuple[Doubt, ...] = ()
    """As of a score."""
    score: float | None
    """Raw, as of a score; by the other model, so on another scale."""
    threshold: float | None
    """Of the other model."""
    model: ModelRef | None
    """None where it was not loaded."""


class Score(_Contract):
    """What was found in one frame."""

    schema_version: Version = SCHEMA_VERSION
    frame_id: str = Field(max_length=256)
    """camera_id:boot_id:sequence."""
    camera_id: Name
    line_id: Name
    station_id: Name
    boot_id: Name
    sequence: int = Field(ge=0, le=MAX_SEQUENCE)
    """As the camera numbered the frame."""
    part_id: str = Field(max_length=128)
    """The inspected part. Several frames may show one part."""
    recipe: Name
    captured_at: Moment
    """When the camera had the picture."""
    scored_at: Moment
    """When the replica had the verdict."""
    verdict: Verdict
    """NOT_DECIDABLE: not inspected, which is never the same as no defect."""
    doubts: tuple[Doubt, ...] = Field(default=(), max_length=16)
    """Empty unless NOT_DECIDABLE."""
    score: float | None
    """Raw: the higher, the more anomalous. None where the model could not look at the frame at all."""
    threshold: float
    """NOT_OK at it and above it."""
    rank: float | None = Field(default=None, ge=0, le=1)
    """The share of the calibration's normals at or below this score, between the quantiles that the bundle stores."""
    features: Mapping[str, float] = Field(default_factory=dict)
    """Name → value of what else the model found; which there are depends on the method."""
    model: ModelRef
    """That judged this frame, or would have."""
    map_key: str | None = Field(max_length=512)
    """Redis hash with the anomaly map and the thumbnail."""
    map_expires_at: Moment | None
    """When Redis forgets the map, at the latest."""
    timings_ms: Mapping[str, float] = Field(default_factory=dict)
    """Stage → milliseconds: transit (capture to broker), queue (in Kafka), decode, wait, infer (the whole batch),
    shadow (waited for it, the whole batch)."""
    position: KafkaPosition
    """Of the frame's record."""
    shadow: ShadowScore | None = None
    """Where the recipe names a shadow bundle."""
    traceparent: str | None = Field(default=None, max_length=128)
    """W3C trace context, of the span that scored."""


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


class Evidence(_Contract):
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


class Alarm(_Contract):
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


class Action(StrEnum):
    """What a line shall do, in PackML's words. Each is a level that stays until taken back, never a pulse."""

    HOLD = "HOLD"
    """Stop throughput while a problem is resolved."""
    STOP = "STOP"
    """Stop; the machine needs its own reset before it can start."""
    REJECT = "REJECT"
    """Go on, but send every part to where the rejects go."""
    UNHOLD_PERMITTED = "UNHOLD_PERMITTED"
    """After a reset: Andon asks for nothing any more. It never restarts a line; a person does."""

    @property
    def stops(self) -> bool:
        """Whether the whole line is to stand."""
        return self in (Action.HOLD, Action.STOP)


class LineCommand(_Contract):
    """What the line shall do. Idempotent by `command_id`; void after `expires_at`."""

    schema_version: Version = SCHEMA_VERSION
    command_id: uuid.UUID
    """UUIDv5 of what is asked in which episode: equal ids are one command, however often it is sent."""
    episode_id: str
    """As of the alarms that led to it."""
    epoch: int = Field(default=0, ge=0)
    """Of the worker that decided it. Each takeover of a line counts it up; a lower one than seen before is void."""
    line_id: Name
    station_id: Name
    camera_id: Name
    part_id: str
    """Of the frame that completed the evidence."""
    action: Action
    """What the line is to do, until it is taken back."""
    reason_code: str
    """The kind of the alarm that asked for it, or `reset`."""
    evidence: Evidence
    """As of the alarm."""
    score: float | None
    """Of the frame that completed the evidence."""
    threshold: float | None
    """That this frame was judged by."""
    model: ModelRef | None
    """Which model judged it."""
    captured_at: Moment
    """Of that frame."""
    scored_at: Moment
    """Of that frame."""
    issued_at: Moment
    """When alerting decided it."""
    expires_at: Moment
    """After this nobody may act on it: the parts are gone."""
    simulated: bool = False
    """What would have been asked for: by a line in shadow mode, or by a candidate. Nobody may act on it."""
    candidate: str | None = None
    """Which candidate judged, where it was not the live verdict: a threshold's name, or `shadow:` and the bundle's."""
    traceparent: str | None = None
    """W3C trace context, of the decision."""


class Outcome(StrEnum):
    ACCEPTED = "accepted"
    """Read back from the line."""
    REJECTED = "rejected"
    """The line answered, and stands otherwise than asked."""
    EXPIRED = "expired"
    """Not confirmed before the command was void. It is not sent any more."""
    DUPLICATE = "duplicate"
    """The line stood like that already."""


class CommandReply(_Contract):
    """What became of a command, with the value read back from the line."""

    schema_version: Version = SCHEMA_VERSION
    command_id: uuid.UUID
    """The command that is answered."""
    episode_id: str
    """The command's."""
    epoch: int = Field(ge=0)
    """Of the worker that wrote to the PLC."""
    line_id: Name
    action: Action
    """What was asked."""
    outcome: Outcome
    """What became of it."""
    actuator: str
    """The protocol and the address, without secrets."""
    value_read_back: str | None
    """The signals as they were read at the line, `name=value`, apart by spaces; null where nothing was read."""
    attempts: int = Field(ge=0)
    """Exchanges with the PLC until the answer."""
    captured_at: Moment
    """Of the frame that the command is about: `observed_at` minus this is the whole way, from capture to coil."""
    issued_at: Moment
    """When alerting decided the command."""
    observed_at: Moment
    """When the answer of the line was read, or given up."""
    detail: str = ""
    """Why, where it was not accepted."""
    traceparent: str | None = None
    """W3C trace context, of the exchange with the PLC."""


PersonsAct = Literal[Act.ACKNOWLEDGE, Act.RESET, Act.SHELVE, Act.UNSHELVE]


class Operation(_Contract):
    """An act that a person asks for. The alerting worker that holds the line carries it out."""

    schema_version: Version = SCHEMA_VERSION
    operation_id: uuid.UUID
    """Of this request: what it changed, or why it was refused, carries it."""
    line_id: Name
    act: PersonsAct
    """What is asked for."""
    alarm_id: uuid.UUID | None = None
    """Only this alarm; by default all of the line that the act can move."""
    actor: str = Field(min_length=1, max_length=128, pattern=r"\S")
    """Who asks, as the caller says it."""
    role: str | None = Field(default=None, max_length=64)
    """As what the actor asked, where it was checked: the operator page knows, a command line does not."""
    reason: str = Field(default="", max_length=1000)
    """Why."""
    shelve_for_s: float | None = Field(default=None, gt=0, le=24 * 3600)
    """With `shelve`, which wants a reason too."""
    asked_at: Moment
    """By the clock of who asked. A reset that is older than 5 minutes is refused."""

    @model_validator(mode="after")
    def _shelving_is_bounded(self) -> Self:
        if self.act is Act.SHELVE and (self.shelve_for_s is None or not self.reason.strip()):
            raise ValueError("to shelve needs a reason and shelve_for_s, at most a day")
        return self


class AuditEntry(_Contract):
    """Who did what, when and why. Entries are only ever added; `number` counts them per line without a gap."""

    schema_version: Version = SCHEMA_VERSION
    number: int = Field(ge=1)
    """Counts the entries of the line from 1."""
    line_id: Name
    at: Moment
    """When it was done."""
    actor: str
    """'andon' or a person."""
    act: str
    """What was done: an act of an alarm, an action of a command, an outcome of a reply, `takeover`, `refuse`."""
    subject: str
    """To what: the kind of alarm, `line`, or the actuator."""
    reason: str
    """Why."""
    epoch: int = Field(ge=0)
    """Of the worker that wrote the entry."""
    episode_id: str | None = None
    """The episode, where it belongs to one."""
    alarm_id: uuid.UUID | None = None
    """The alarm, where it is about one."""
    command_id: uuid.UUID | None = None
    """The command, where it is about one."""
    operation_id: uuid.UUID | None = None
    """The request of a person, where one asked for it."""
    after: str | None = None
    """The state of the alarm, or the value read back from the line, after the act."""
    traceparent: str | None = None
    """Of the alarm, the command or the reply."""


class BootEnd(StrEnum):
    RUNNING = "running"
    CLEAN = "clean"
    """The worker ended in good order: these counters are final."""
    DIED = "died"
    """The worker was killed; its successor found the spool and reports what was left."""


class Heartbeat(_Contract):
    """A camera's own count of its frames, since its boot. What `andon audit` holds every other count against."""

    schema_version: Version = SCHEMA_VERSION
    camera_id: Name
    line_id: Name
    boot_id: Name
    captured: int = Field(ge=0)
    """Frames that got a sequence number; the next one is number `captured`."""
    published: int = Field(ge=0)
    """Acknowledged by Kafka."""
    dropped: Mapping[str, int] = Field(default_factory=dict)
    """Reason → frames given up."""
    buffered: int = Field(ge=0)
    """In memory, on the way to Kafka."""
    spooled: int = Field(ge=0)
    """On disk, until Kafka is back."""
    source_connected: bool
    """Whether the worker gets pictures from the camera."""
    end: BootEnd = BootEnd.RUNNING
    """Whether this boot still runs, and how it ended."""
    sent_at: Moment
    """By the camera box's clock."""


def command_id(
    line_id: str, episode_id: str, action: Action, candidate: str | None = None, given_up: int = 0
) -> uuid.UUID:
    """The same act in the same episode is the same command, however often it is derived. One that follows `given_up`
    others, which expired before the line confirmed them, is another."""
    told_apart = (f"/{candidate}" if candidate else "") + (f"#{given_up}" if given_up else "")
    return uuid.uuid5(_NAMESPACE, f"{line_id}/{episode_id}/{action}{told_apart}")


def alarm_id(line_id: str, episode_id: str, kind: AlarmKind, number: int) -> uuid.UUID:
    """`number` counts the alarms of the line, so an alarm that comes again after its end is another one."""
    return uuid.uuid5(_NAMESPACE, f"{line_id}/{episode_id}/{kind}/{number}")


_NAMESPACE = uuid.UUID("5b0c3f0e-3d0c-5f4e-9d0a-a9d0a11d0a00")

EVENTS: tuple[type[_Contract], ...] = (
    Frame,
    Score,
    Alarm,
    LineCommand,
    CommandReply,
    Operation,
    AuditEntry,
    Heartbeat,
)
