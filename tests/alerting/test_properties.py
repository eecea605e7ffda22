"""Whatever happens in whatever order, these hold."""

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby

import pytest
from alerting.factory import NOON, POLICY, operation, score
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import Act, Action, Alarm, AlarmKind, AlarmState, LineCommand, Operation, Score, Verdict, to_ms
from workers.alerting.core.effects import Effect, Refusal
from workers.alerting.core.line import step
from workers.alerting.core.state import LineState
from workers.alerting.policy import LinePolicy, NotDecidableLimit, Response

pytestmark = pytest.mark.unit

PERSONS = (Act.ACKNOWLEDGE, Act.ACKNOWLEDGE, Act.RESET, Act.RESET, Act.SHELVE, Act.UNSHELVE)


@dataclass(frozen=True)
class Record:
    """One record of a topic, Kafka's time of it, and the clock when the worker first gets to it."""

    event: Score | Operation
    offset: int
    written_ms: int
    age_s: float


@st.composite
def streams(draw: st.DrawFn) -> list[Record]:
    """Scores of two cameras, with duplicates at new offsets, mixed with what people do."""
    records: list[Record] = []
    sequences = {"cam-1": 0, "cam-2": 0}
    next_offset = {Score: 0, Operation: 0}
    sent: list[Score] = []
    at = NOON
    acts = st.sampled_from([*Verdict, Verdict.NOT_OK, Verdict.NOT_OK, *PERSONS, "duplicate"])
    for act in draw(st.lists(acts, max_size=60)):
        event: Score | Operation
        if isinstance(act, Verdict):
            camera = draw(st.sampled_from(sorted(sequences)))
            at += timedelta(seconds=draw(st.sampled_from([0.0, 0.2, 3.0])))
            event = score(sequences[camera], act, camera=camera, part=f"p{sequences[camera] // 2}", captured_at=at)
            sequences[camera] += draw(st.integers(1, 3))
            sent.append(event)
        elif isinstance(act, Act):
            event = operation(act)  # type: ignore[arg-type]
        elif sent:
            event = draw(st.sampled_from(sent))
        else:
            continue
        offset = next_offset[type(event)]
        next_offset[type(event)] += draw(st.integers(1, 3))
        age_s = draw(st.sampled_from([0.5, 1.0, 9.9, 10.1, 500.0])) + (at - NOON).total_seconds()
        records.append(Record(event, offset, to_ms(NOON) + draw(st.integers(0, 3)), age_s))  # brokers' clocks differ
    return records


policies = st.builds(
    LinePolicy,
    k=st.integers(1, 3),
    n=st.integers(3, 6),
    action=st.sampled_from(Response),
    not_decidable=st.builds(
        NotDecidableLimit, limit=st.integers(1, 3), of_last=st.integers(3, 4), action=st.sampled_from(Response)
    ),
    max_age_s=st.just(10.0),
    off_delay_s=st.sampled_from([0.0, 5.0]),
    on_delay_s=st.just(0.0),
)


def apply(state: LineState, record: Record, policy: LinePolicy) -> tuple[LineState, tuple[Effect, ...]]:
    now = NOON + timedelta(seconds=record.age_s)
    stepped = step(state, record.event, record.offset, record.written_ms, policy, now)
    return stepped.state, stepped.effects


def fold(records: list[Record], policy: LinePolicy = POLICY) -> tuple[LineState, list[Effect]]:
    state, effects = LineState(line_id="line-1"), []
    for record in records:
        state, decided = apply(state, record, policy)
        effects += decided
    return state, effects


@given(streams(), policies)
def test_a_latched_alarm_stands_until_a_person_resets_it(records: list[Record], policy: LinePolicy) -> None:
    state = LineState(line_id="line-1")
    for record in records:
        before = {entry.alarm.alarm_id: entry for entry in state.latched}
        state, effects = apply(state, record, policy)
        after = {entry.alarm.alarm_id for entry in state.latched}
        for gone in before.keys() - after:
            assert isinstance(record.event, Operation)
            assert record.event.act is Act.RESET
            assert not before[gone].life.unacknowledged
            assert any(
                isinstance(e, Alarm) and e.alarm_id == gone and e.act is Act.RESET and e.actor == record.event.actor
                for e in effects
            )


@given(streams(), policies)
def test_nothing_but_a_persons_reset_takes_a_stop_back(records: list[Record], policy: LinePolicy) -> None:
    state = LineState(line_id="line-1")
    for record in records:
        level = state.level
        state, effects = apply(state, record, policy)
        released = [e for e in effects if isinstance(e, LineCommand) and e.action is Action.UNHOLD_PERMITTED]
        assert bool(released) == (level is not None and state.level is None)
        if released:
            assert isinstance(record.event, Operation)
            assert record.event.act is Act.RESET
            assert state.latched == ()


@given(streams(), policies)
def test_whatever_a_person_asks_is_answered_with_the_name(records: list[Record], policy: LinePolicy) -> None:
    state = LineState(line_id="line-1")
    for record in records:
        state, effects = apply(state, record, policy)
        if isinstance(record.event, Operation):
            asked = record.event.operation_id
            told = [e for e in effects if isinstance(e, Alarm) and e.operation_id == asked]
            assert all(alarm.actor == record.event.actor for alarm in told)
            assert told or any(isinstance(e, Refusal) and e.operation.operation_id == asked for e in effects)


@given(streams(), policies)
def test_the_topic_tells_the_same_story_as_the_state(records: list[Record], policy: LinePolicy) -> None:
    """Whoever reads `alarms` alone knows what stands, with no revision missing or told twice."""
    state, effects = fold(records, policy)
    told: dict[object, Alarm] = {}
    for event in effects:
        if isinstance(event, Alarm):
            previous = told.get(event.alarm_id)
            assert event.revision == (previous.revision + 1 if previous else 1)
            assert previous is None or previous.state is not AlarmState.NORMAL
            assert event.actor.strip()
            told[event.alarm_id] = event
    assert {a.alarm_id: a for a in told.values() if a.state is not AlarmState.NORMAL} == {
        entry.alarm.alarm_id: entry.alarm for entry in state.alarms
    }


@given(streams(), policies)
def test_an_episode_asks_for_each_response_once_at_most_the_stronger_last_and_is_then_permitted(
    records: list[Record], policy: LinePolicy
) -> None:
    commands = [event for event in fold(records, policy)[1] if isinstance(event, LineCommand)]
    assert len({command.command_id for command in commands}) == len(commands)
    episodes = [list(asked) for _, asked in groupby(commands, key=lambda command: command.episode_id)]
    assert len({asked[0].episode_id for asked in episodes}) == len(episodes)
    for asked in episodes:
        actions = [command.action for command in asked]
        if actions[-1] is Action.UNHOLD_PERMITTED or asked is not episodes[-1]:
            assert actions.pop() is Action.UNHOLD_PERMITTED
        # A line that rejects runs on, until its cameras see nothing any more.
        assert [action.stops for action in actions] in ([False], [True], [False, True])


@given(streams(), policies)
def test_nothing_late_ever_holds_the_line(records: list[Record], policy: LinePolicy) -> None:
    state = LineState(line_id="line-1")
    for record in records:
        state, effects = apply(state, record, policy)
        for event in effects:
            if isinstance(event, LineCommand) and event.action is not Action.UNHOLD_PERMITTED:
                assert (event.issued_at - event.captured_at).total_seconds() <= policy.max_age_s
                assert event.issued_at <= event.expires_at


@given(streams(), policies, st.data())
def test_reading_stretches_again_gives_the_same_effects(
    records: list[Record], policy: LinePolicy, data: st.DataObject
) -> None:
    """A worker that dies goes back to its last commit, any number of times, and then meets a later clock."""
    once = fold(records, policy)
    state, effects = LineState(line_id="line-1"), []
    for done, record in enumerate(records, start=1):
        state, decided = apply(state, record, policy)
        effects += decided
        if data.draw(st.integers(0, 4)) == 0:
            back = data.draw(st.integers(0, done))
            for again in records[done - back : done]:
                state, repeated = apply(state, replace(again, age_s=again.age_s + 300), policy)
                assert repeated == ()
    assert (state, effects) == once


@given(streams(), policies)
def test_duplicate_scores_change_no_effect(records: list[Record], policy: LinePolicy) -> None:
    seen: set[str] = set()
    unique = []
    for record in records:
        if isinstance(record.event, Score):
            if record.event.frame_id in seen:
                continue
            seen.add(record.event.frame_id)
        unique.append(record)
    assert fold(records, policy)[1] == fold(unique, policy)[1]


@given(streams(), policies)
def test_storing_and_loading_the_state_at_any_point_changes_nothing(records: list[Record], policy: LinePolicy) -> None:
    once = fold(records, policy)
    state, effects = LineState(line_id="line-1"), []
    for record in records:
        state, decided = apply(LineState.from_json(state.to_json(), "here"), record, policy)
        effects += decided
    assert (state, effects) == once


@given(streams(), policies, policies, st.data())
def test_what_a_line_is_asked_to_stop_for_is_shown_and_asks_for_a_person(
    records: list[Record], policy: LinePolicy, later: LinePolicy, data: st.DataObject
) -> None:
    """Shelved or acknowledged while the line ran, as where the plant only alarms or the stops of the shift are spent,
    it stayed so once the line stood for it."""
    state, changed_at = LineState(line_id="line-1"), data.draw(st.integers(0, len(records)))
    for at, record in enumerate(records):
        state, effects = apply(state, record, policy if at < changed_at else later)
        for event in effects:
            if isinstance(event, LineCommand) and event.action is not Action.UNHOLD_PERMITTED:
                behind = state.standing(AlarmKind(event.reason_code))
                assert behind is not None
                assert behind.alarm.state is AlarmState.UNACK_ACTIVE
                (*_, told) = (e for e in effects if isinstance(e, Alarm) and e.alarm_id == behind.alarm.alarm_id)
                assert told == behind.alarm
