"""What each line tolerates, and what is done when it has had enough."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from pipeline.events import Action, Name
from workers.alerting.actuators.config import ActuatorConfig, Place
from workers.alerting.section import Section

MAX_WINDOW = 100
"""With it the live windows of as many cameras as a line may have fit into its stored state; see weight.py."""


class Response(StrEnum):
    """What is done about a burst. All but the last latch an alarm and move the line."""

    HOLD = "HOLD"
    STOP = "STOP"
    REJECT = "REJECT"
    ALARM_ONLY = "ALARM_ONLY"

    @property
    def action(self) -> Action | None:
        return None if self is Response.ALARM_ONLY else Action(self.value)


class OnLoss(StrEnum):
    """What the line does while Andon does not watch it."""

    HOLD = "hold-on-loss"
    """RUN_PERMIT falls, and the PLC's watchdog holds the line: nothing is made uninspected."""
    RUN_WITH_ALARM = "run-with-alarm"
    """The line goes on, and an alarm stands."""


class NotDecidableLimit(Section):
    """How much blindness is too much: a camera that inspects nothing finds no defects either."""

    limit: int = Field(default=10, ge=1)
    """So many frames that could not be judged."""
    of_last: int = Field(default=20, ge=1, le=MAX_WINDOW, description="frames")
    action: Response = Response.ALARM_ONLY
    """What is done then."""

    @model_validator(mode="after")
    def _reachable(self) -> NotDecidableLimit:
        if self.limit > self.of_last:
            raise ValueError(f"limit ({self.limit}) must be at most of_last ({self.of_last}), or it is never reached")
        return self


class CommonCause(Section):
    """Many cameras of a line at once: light or model, not defects."""

    cameras: int = Field(default=3, ge=2, le=64)
    """So many at once are a common cause, where they are `share` of the line, too."""
    share: float = Field(default=0.5, gt=0, le=1, description="of the line's cameras that see frames")
    still_stops: bool = True
    """Whether the line is stopped all the same. With false, give `on_delay_s` some seconds: the first camera would
    otherwise have stopped the line before the others can be seen to agree."""


class StopBudget(Section):
    """So many stops a shift, then alarms only: a model that went wrong must not stand a plant still."""

    stops: int = Field(ge=1, le=1000)
    """So many a shift. A REJECT is none."""
    shifts: tuple[time, ...] = Field(default=(time(6), time(14), time(22)), min_length=1)
    """When each shift begins, by the plant's clock."""
    timezone: str = "UTC"
    """Of the plant, as Europe/Berlin."""

    @field_validator("shifts", mode="before")
    @classmethod
    def _as_text(cls, shifts: Any) -> Any:
        if isinstance(shifts, list) and any(isinstance(start, int | float) for start in shifts):
            raise ValueError("write each time in quotes, as in '14:00': YAML takes it for a number otherwise")
        return shifts

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"no time zone {name!r}; a name is like Europe/Berlin") from error
        return name

    def shift_began(self, now: datetime) -> datetime:
        zone = ZoneInfo(self.timezone)
        today = now.astimezone(zone).date()
        starts = [
            datetime.combine(today - timedelta(days=back), start, zone).astimezone(UTC)
            for start in self.shifts
            for back in (0, 1)
        ]
        # By UTC: times of one zone are compared by their clock, which shows an hour twice in autumn.
        return max(start for start in starts if start <= now)


class Drift(Section):
    """When the scores of a camera have moved away from its model's calibration."""

    shift: float = Field(default=0.25, gt=0, lt=1)
    """The largest distance between the two distributions at a quantile, as a share of frames."""
    frames: int = Field(default=300, ge=50, le=100_000, description="that the judgement looks back on")


class Candidate(Section):
    """A threshold that is tried beside the live one. It stops nothing; it tells what it would have stopped."""

    threshold: float
    """In place of the bundle's."""
    k: int | None = Field(default=None, ge=1)
    """In place of the line's."""
    n: int | None = Field(default=None, ge=1, le=MAX_WINDOW)
    """In place of the line's."""


class LinePolicy(Section):
    """k bad of the last n inspected parts, seen by one camera, are a burst."""

    k: int = Field(ge=1)
    """So many parts NOT_OK, seen by one camera, are a burst."""
    n: int = Field(ge=1, le=MAX_WINDOW, description="inspected parts")
    action: Response
    """Without a default: whether Andon may stop a line is the plant's decision, never a silent one."""
    on_delay_s: float = Field(default=0, ge=0, le=600)
    """For so long a window must stay full before it raises an alarm."""
    off_delay_s: float = Field(default=5, ge=0, le=3600)
    """For so long it must be good again before the alarm's cause counts as gone."""
    not_decidable: NotDecidableLimit = NotDecidableLimit()
    """How much blindness is too much."""
    max_age_s: float = Field(default=10, gt=0, le=3600)
    """From capture to stop. Later than this the parts are gone, and a stop would hit innocent ones. The default
    outlasts one takeover (a dead worker is missed after 6 s), so a burst that falls into a takeover still stops."""
    silent_after_s: float = Field(default=30, gt=0, le=86_400)
    """A camera without a frame scored in time for so long raises an alarm, and the line's heartbeat stops."""
    triggered: bool = False
    """Cameras that take a frame only when a part comes: no parts, no frames, and no alarm for it."""
    common_cause: CommonCause = CommonCause()
    """Many cameras at once: light or model, not defects."""
    drift: Drift = Drift()
    """When the scores of a camera have moved away from the calibration. For maintenance; no limit moves."""
    stop_budget: StopBudget | None = None
    """How many stops a shift; then alarms only. Without it any number."""
    shadow: bool = False
    """Decide as ever, tell what would have been stopped, and stop nothing."""
    candidates: Mapping[Name, Candidate] = Field(default_factory=dict, max_length=4)
    """Thresholds that are tried beside the live one, by name. They stop nothing."""
    actuator: ActuatorConfig | None = None
    """The line's PLC, by its type. Without one, commands are for a subscriber of yours."""
    on_loss: OnLoss | None = None
    """Without a default where there is an actuator: the plant chooses."""

    @model_validator(mode="after")
    def _reachable(self) -> LinePolicy:
        if self.k > self.n:
            raise ValueError(f"k ({self.k}) must be at most n ({self.n}), or it is never reached")
        for name, candidate in self.candidates.items():
            if (candidate.k or self.k) > (candidate.n or self.n):
                raise ValueError(f"candidates.{name}: k must be at most n, or it is never reached")
        return self

    @model_validator(mode="after")
    def _loss_is_chosen(self) -> LinePolicy:
        if self.actuator is not None and self.on_loss is None:
            raise ValueError(
                "on_loss: a line with an actuator needs a choice: hold-on-loss (the line stops while Andon does not "
                "watch it) or run-with-alarm (it runs uninspected, with an alarm). There is no default"
            )
        if self.actuator is not None and self.on_loss is OnLoss.HOLD and self.actuator.runs_on:
            raise ValueError(f"actuator: hold-on-loss can't be kept here: {self.actuator.runs_on}")
        wanted = (self.action, self.not_decidable.action)
        if self.actuator is not None and Response.REJECT in wanted and not self.actuator.can_reject:
            raise ValueError("actuator: REJECT needs a signal for it: coils.reject, or block")
        return self


class Policies(Section):
    """The policy file: `defaults` for every line, and per line only what differs."""

    defaults: LinePolicy
    """For every line."""
    lines: Mapping[Name, LinePolicy] = Field(default_factory=dict)
    """By line, what differs from the defaults."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_defaults(cls, content: Any) -> Any:
        defaults = content.get("defaults") if isinstance(content, dict) else None
        if isinstance(defaults, dict) and defaults.get("actuator") is not None:
            raise ValueError("defaults.actuator: an actuator belongs to one line; name it under lines")
        if not isinstance(content, dict) or not isinstance(content.get("lines"), dict):
            return content
        return content | {"lines": {line: _merged(defaults, own) for line, own in content["lines"].items()}}

    @model_validator(mode="after")
    def _one_signal_one_line(self) -> Policies:
        """Two lines may share a PLC, never its signals: one would write RUN over the other's stop."""
        taken: dict[Place, str] = {}
        for line_id, policy in self.lines.items():
            if policy.actuator is None:
                continue
            own = {place: key for key, place in policy.actuator.places()}
            for place, key in own.items():
                if place in taken:
                    where = f"lines.{line_id}.actuator: {key}"
                    raise ValueError(f"{where} is line {taken[place]}'s, too, and the two would fight for it")
            taken |= dict.fromkeys(own, line_id)
        return self

    def of(self, line_id: str) -> LinePolicy:
        return self.lines.get(line_id, self.defaults)

    @property
    def digest(self) -> str:
        """Of what the file means, not of how it is written. Workers that differ in it judge their lines differently."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _merged(base: Any, own: Any) -> Any:
    if own is None:
        return base
    if not isinstance(base, dict) or not isinstance(own, dict):
        return own
    return base | {key: _merged(base.get(key), value) for key, value in own.items()}
