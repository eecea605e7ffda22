"""Whether a full limit moves the line, and if not, why. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pipeline.events import AlarmKind, LineCommand
from workers.alerting.core import effects, register, triggers
from workers.alerting.core.effects import Trigger
from workers.alerting.core.register import Changed
from workers.alerting.core.state import CLOCKS_DIFFER, LineState
from workers.alerting.policy import LinePolicy, Response, StopBudget

MAX_STOPS = 1000
"""Remembered per line; a budget can't be larger."""


def _nothing(state: LineState) -> Changed:
    return state, ()


@dataclass(frozen=True)
class Decision:
    latching: bool
    """Whether the alarm stays until reset."""
    command: LineCommand | None = None
    remark: str = ""
    """Why the line is not stopped although the policy would, for the alarm's reason."""
    after: Callable[[LineState], Changed] = _nothing
    """What the decision itself leaves behind."""


def decide(state: LineState, trigger: Trigger, policy: LinePolicy, now: datetime) -> Decision:
    """An alarm of defects latches always; blindness only where it stops the line."""
    blind = trigger.kind is AlarmKind.NOT_INSPECTED
    response = policy.not_decidable.action if blind else policy.action
    action = response.action
    latching = not blind or action is not None
    if action is None or trigger.kind is AlarmKind.LATE or triggers.is_late(trigger.score, policy, now):
        return Decision(latching)
    # A line that rejects runs on: what asks to stop it, as a camera that sees nothing any more, goes before that.
    if state.level is not None and (state.level.stops or not action.stops):
        return Decision(latching)
    if policy.shadow and _was_told(state, trigger):
        return Decision(latching)
    rule = policy.common_cause
    if not rule.still_stops and triggers.agreeing(state, trigger.score, policy) is not None:
        return Decision(latching, remark="many cameras at once, so the line is not stopped")
    budget = None if policy.shadow or response is Response.REJECT else policy.stop_budget
    if budget is not None and stops_left(state, budget, now) == 0:
        whole = "the one stop of this shift is" if budget.stops == 1 else f"the {budget.stops} stops of this shift are"
        remark = f"{whole} spent, so the line is not stopped"
        return Decision(latching, remark=remark, after=lambda after: _spent(after, trigger, remark, now))
    episode_id = state.episode.episode_id if state.episode else f"{trigger.score.line_id}:{trigger.score.frame_id}"
    command = effects.command(
        trigger,
        episode_id,
        action,
        now,
        epoch=state.epoch,
        max_age_s=policy.max_age_s,
        simulated=policy.shadow,
        given_up=state.episode.given_up if state.episode else 0,
    )
    if policy.shadow:
        return Decision(latching, command, "shadow mode, so the line is not stopped")
    if response is Response.REJECT:
        return Decision(latching, command)
    return Decision(latching, command, after=lambda after: (_counted(after, now), ()))


def stops_left(state: LineState, budget: StopBudget, now: datetime) -> int:
    began = budget.shift_began(now)
    return max(0, budget.stops - sum(1 for at in state.stopped_at if at >= began))


def tick(state: LineState, policy: LinePolicy, now: datetime) -> Changed:
    """A new shift has a new budget. A stop that a clock dated ahead was made by now: it must not count until that time
    has come."""
    if any(at - now > CLOCKS_DIFFER for at in state.stopped_at):
        state = state.model_copy(update={"stopped_at": tuple(min(at, now) for at in state.stopped_at)})
    entry = state.standing(AlarmKind.STOPS_SPENT)
    if entry is None or (policy.stop_budget and stops_left(state, policy.stop_budget, now) == 0):
        return state, ()
    return register.clear(state, entry, "stops are left again", now)


def _counted(state: LineState, now: datetime) -> LineState:
    return state.model_copy(update={"stopped_at": (*state.stopped_at, now)[-MAX_STOPS:]})


def _spent(state: LineState, trigger: Trigger, remark: str, now: datetime) -> Changed:
    if state.standing(AlarmKind.STOPS_SPENT):
        return state, ()
    alarm = effects.condition(state, AlarmKind.STOPS_SPENT, trigger.score.camera_id, remark, now)
    return register.add(state, alarm)


def _was_told(state: LineState, trigger: Trigger) -> bool:
    """In shadow mode, an episode's one command is told with the alarm that began it."""
    return state.standing(trigger.kind) is not None
