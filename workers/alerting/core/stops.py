"""Whether a full limit moves the line, and if not, why. Pure."""

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


@dataclass(frozen=True)
class Decision:
    latching: bool
    """Whether the alarm stays until reset."""
    command: LineCommand | None = None
    remark: str = ""
    """Why the line is not stopped although the policy would, for the alarm's reason."""
    spent: bool = False
    """Whether that is since the stops of the shift are used up."""


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
        return Decision(latching, remark=remark, spent=True)
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
    return Decision(latching, command, "shadow mode, so the line is not stopped" if policy.shadow else "")


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


def tell_spent(state: LineState, camera_id: str, remark: str, now: datetime) -> Changed:
    alarm = effects.condition(state, AlarmKind.STOPS_SPENT, camera_id, remark, now)
    return register.see(state, state.standing(AlarmKind.STOPS_SPENT), alarm)


def _was_told(state: LineState, trigger: Trigger) -> bool:
    """In shadow mode, an episode's one command is told with the alarm that began it."""
    return state.standing(trigger.kind) is not None
