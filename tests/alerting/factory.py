"""Makes scores and operations, and folds them the way the worker does."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.events import (
    Act,
    Action,
    Alarm,
    AlarmKind,
    BootEnd,
    Doubt,
    Heartbeat,
    KafkaPosition,
    LineCommand,
    ModelRef,
    Operation,
    PersonsAct,
    Score,
    Verdict,
    to_ms,
)
from workers.alerting.core.effects import Effect
from workers.alerting.core.line import Skip, step
from workers.alerting.core.state import LineState
from workers.alerting.policy import LinePolicy, NotDecidableLimit, Response

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BOOT = "20261122T110000"
POLICY = LinePolicy(k=3, n=5, action=Response.HOLD, not_decidable=NotDecidableLimit(limit=3, of_last=4), max_age_s=10)


def score(
    sequence: int,
    verdict: Verdict = Verdict.NOT_OK,
    *,
    camera: str = "cam-1",
    line: str = "line-1",
    part: str | None = None,
    boot: str = BOOT,
    captured_at: datetime = NOON,
    **more: Any,
) -> Score:
    frame_id = f"{camera}:{boot}:{sequence}"
    blind = verdict is Verdict.NOT_DECIDABLE
    return Score(
        frame_id=frame_id,
        camera_id=camera,
        line_id=line,
        station_id="s1",
        boot_id=boot,
        sequence=sequence,
        part_id=part or f"part-{sequence}",
        recipe="null",
        captured_at=captured_at,
        scored_at=captured_at + timedelta(milliseconds=300),
        verdict=verdict,
        doubts=(Doubt.DARK,) if blind else (),
        score=None if blind else 0.9 if verdict is Verdict.NOT_OK else 0.1,
        threshold=0.5,
        model=ModelRef(bundle="b", method="null", hash="h"),
        map_key=f"map:{frame_id}",
        map_expires_at=captured_at + timedelta(hours=1),
        position=KafkaPosition(topic="frames", partition=0, offset=sequence),
    ).model_copy(update=more)


def operation(
    act: PersonsAct,
    *,
    actor: str = "ada",
    reason: str = "looked at it",
    alarm_id: uuid.UUID | None = None,
    asked_at: datetime = NOON + timedelta(days=365),
) -> Operation:
    """By default asked for after everything else that happens in a test."""
    return Operation(
        operation_id=uuid.uuid4(),
        line_id="line-1",
        act=act,
        alarm_id=alarm_id,
        actor=actor,
        reason=reason,
        shelve_for_s=600 if act is Act.SHELVE else None,
        asked_at=asked_at,
    )


def heartbeat(
    sent_s: float = 0,
    *,
    camera: str = "cam-1",
    boot: str = BOOT,
    captured: int = 1,
    connected: bool = True,
    end: BootEnd = BootEnd.RUNNING,
) -> Heartbeat:
    """`sent_s`: how long after NOON, by the camera's clock."""
    return Heartbeat(
        camera_id=camera,
        line_id="line-1",
        boot_id=boot,
        captured=captured,
        published=captured,
        buffered=0,
        spooled=0,
        source_connected=connected,
        end=end,
        sent_at=NOON + timedelta(seconds=sent_s),
    )


@dataclass
class Line:
    """One line's state with everything that was ever decided for it. Offsets count up unless given."""

    policy: LinePolicy = POLICY
    state: LineState = field(default_factory=lambda: LineState(line_id="line-1"))
    effects: list[Effect] = field(default_factory=list)
    shadows: list[LineCommand] = field(default_factory=list)
    offsets: dict[type, int] = field(default_factory=lambda: {Score: 0, Operation: 0})

    def see(
        self, event: Score | Operation, *, age_s: float = 1, offset: int | None = None, written_ms: int | None = None
    ) -> tuple[tuple[Effect, ...], Skip | None]:
        """`age_s`: how long after NOON the worker gets to it. `written_ms`: Kafka's time of the record, by default the
        same."""
        if offset is None:
            offset = self.offsets[type(event)]
            self.offsets[type(event)] += 1
        now = NOON + timedelta(seconds=age_s)
        stepped = step(self.state, event, offset, to_ms(now) if written_ms is None else written_ms, self.policy, now)
        self.state = stepped.state
        self.effects += stepped.effects
        self.shadows += stepped.shadows
        return stepped.effects, stepped.skipped

    def burst(self, first: int = 0, *, age_s: float = 1, camera: str = "cam-1") -> "Line":
        for sequence in range(first, first + self.policy.k):
            self.see(score(sequence, camera=camera), age_s=age_s)
        return self

    @property
    def alarms(self) -> list[Alarm]:
        return [event for event in self.effects if isinstance(event, Alarm)]

    @property
    def commands(self) -> list[LineCommand]:
        return [event for event in self.effects if isinstance(event, LineCommand)]

    @property
    def actions(self) -> list[Action]:
        return [command.action for command in self.commands]

    @property
    def standing(self) -> list[AlarmKind]:
        return [entry.alarm.kind for entry in self.state.alarms]

    def last(self) -> Alarm:
        return self.alarms[-1]


def verdicts(letters: str) -> Sequence[Verdict]:
    """'x' NOT_OK, '.' OK, '?' NOT_DECIDABLE."""
    meaning = {"x": Verdict.NOT_OK, ".": Verdict.OK, "?": Verdict.NOT_DECIDABLE}
    return [meaning[letter] for letter in letters]
