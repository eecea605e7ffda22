"""The life of an alarm: every transition, and what no sequence of acts can do."""

from datetime import timedelta

import pytest
from alerting.factory import NOON
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import Act, AlarmState
from workers.alerting.core.lifecycle import ANDON, ActRefusedError, Deed, Life, move

pytestmark = pytest.mark.unit

S = AlarmState
HOUR = timedelta(hours=1)


def deed(act: Act, actor: str | None = None) -> Deed:
    person = act in (Act.ACKNOWLEDGE, Act.RESET, Act.SHELVE, Act.UNSHELVE)
    until = NOON + HOUR if act is Act.SHELVE else None
    return Deed(act, actor if actor is not None else "ada" if person else ANDON, NOON, "because", until)


def after(start: AlarmState, act: Act, *, latching: bool = True) -> AlarmState | str:
    try:
        return move(Life(start, latching), deed(act)).state
    except ActRefusedError:
        return "refused"


@pytest.mark.parametrize(
    ("latching", "start", "act", "end"),
    [
        (True, S.NORMAL, Act.RAISE, S.UNACK_ACTIVE),
        (True, S.UNACK_ACTIVE, Act.RAISE, S.UNACK_ACTIVE),
        (True, S.UNACK_ACTIVE, Act.CLEAR, S.UNACK_LATCHED),
        (True, S.UNACK_ACTIVE, Act.ACKNOWLEDGE, S.ACK_ACTIVE),
        (True, S.UNACK_ACTIVE, Act.RESET, "refused"),
        (True, S.ACK_ACTIVE, Act.CLEAR, S.ACK_LATCHED),
        (True, S.ACK_ACTIVE, Act.ACKNOWLEDGE, "refused"),
        (True, S.ACK_ACTIVE, Act.RESET, S.NORMAL),
        (True, S.UNACK_LATCHED, Act.ACKNOWLEDGE, S.ACK_LATCHED),
        (True, S.UNACK_LATCHED, Act.RESET, "refused"),
        (True, S.UNACK_LATCHED, Act.RAISE, S.UNACK_ACTIVE),
        (True, S.ACK_LATCHED, Act.CLEAR, S.ACK_LATCHED),
        (True, S.ACK_LATCHED, Act.RESET, S.NORMAL),
        (True, S.ACK_LATCHED, Act.RAISE, S.UNACK_ACTIVE),
        (False, S.NORMAL, Act.RAISE, S.UNACK_ACTIVE),
        (False, S.UNACK_ACTIVE, Act.CLEAR, S.UNACK_RTN),
        (False, S.ACK_ACTIVE, Act.CLEAR, S.NORMAL),
        (False, S.UNACK_RTN, Act.ACKNOWLEDGE, S.NORMAL),
        (False, S.UNACK_RTN, Act.RAISE, S.UNACK_ACTIVE),
        (False, S.ACK_ACTIVE, Act.RESET, "refused"),
    ],
)
def test_transitions(latching: bool, start: AlarmState, act: Act, end: AlarmState | str) -> None:
    assert after(start, act, latching=latching) == end


def test_a_shelved_alarm_lives_on_beneath_and_shows_again() -> None:
    life = move(Life(S.UNACK_ACTIVE), deed(Act.SHELVE))
    assert life.shown is S.SHELVED
    life = move(life, deed(Act.CLEAR))
    assert (life.shown, life.state) == (S.SHELVED, S.UNACK_LATCHED)
    assert move(life, deed(Act.UNSHELVE, ANDON)).shown is S.UNACK_LATCHED


def test_shelving_wants_a_reason_and_an_end_ahead() -> None:
    for wrong in (Deed(Act.SHELVE, "ada", NOON, " ", NOON + HOUR), Deed(Act.SHELVE, "ada", NOON, "why", NOON)):
        with pytest.raises(ActRefusedError):
            move(Life(S.UNACK_ACTIVE), wrong)


def test_a_suppressed_alarm_is_hidden_and_comes_back() -> None:
    life = move(Life(S.UNACK_ACTIVE, latching=False), deed(Act.SUPPRESS))
    assert life.shown is S.SUPPRESSED
    assert move(life, deed(Act.UNSUPPRESS)).shown is S.UNACK_ACTIVE


deeds = st.builds(
    Deed,
    act=st.sampled_from(Act),
    actor=st.sampled_from(["", " ", ANDON, "ada"]),
    at=st.just(NOON),
    reason=st.sampled_from(["", "because"]),
    until=st.sampled_from([None, NOON - HOUR, NOON + HOUR]),
)
RAISED = Life(S.UNACK_ACTIVE)


@given(st.lists(deeds))
def test_a_latched_alarm_ends_only_by_a_persons_acknowledge_and_then_a_persons_reset(sequence: list[Deed]) -> None:
    life, acknowledged = RAISED, False
    for one in sequence:
        try:
            life = move(life, one)
        except ActRefusedError:
            continue
        acknowledged = not life.unacknowledged
        if life.state is S.NORMAL:
            assert (one.act, one.actor) == (Act.RESET, "ada")
            return
        if acknowledged:
            assert any(d.act is Act.ACKNOWLEDGE and d.actor == "ada" for d in sequence)


@given(st.lists(deeds))
def test_nothing_moves_without_an_actor(sequence: list[Deed]) -> None:
    for one in sequence:
        if not one.actor.strip():
            with pytest.raises(ActRefusedError):
                move(RAISED, one)


@given(st.lists(deeds), st.booleans())
def test_covers_never_touch_what_lies_beneath(sequence: list[Deed], latching: bool) -> None:
    life = Life(S.UNACK_ACTIVE, latching)
    for one in sequence:
        try:
            moved = move(life, one)
        except ActRefusedError:
            continue
        if one.act in (Act.SHELVE, Act.UNSHELVE, Act.SUPPRESS, Act.UNSUPPRESS, Act.NOTE):
            assert moved.state is life.state
        life = moved
