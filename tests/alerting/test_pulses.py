"""Which boot of a camera its pulse tells of: the order in the topic decides, never a clock of the camera."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from alerting.factory import NOON, POLICY, Line, heartbeat, score
from hypothesis import given
from hypothesis import strategies as st
from support.stream import settings_for, wait_until

from pipeline.events import BootEnd, Heartbeat, Verdict
from pipeline.kafka.records import Incoming
from workers.alerting import pulses
from workers.alerting.core import silence
from workers.alerting.core.silence import Pulse, hear
from workers.alerting.pulses import PulseReader

pytestmark = pytest.mark.unit

S = timedelta(seconds=1)
AHEAD, RIGHT = "20261122T140000", "20261122T120010"
"""Two boots. The first began before the clock was set, two hours ahead; the second sorts before it."""


def beat(boot: str, end: BootEnd = BootEnd.RUNNING, *, sent_s: float = 0, captured: int = 1) -> Heartbeat:
    return heartbeat(sent_s, boot=boot, end=end, captured=captured)


def heard(*beats: Heartbeat) -> Pulse:
    pulse = None
    for each in beats:
        pulse = hear(pulse, each)
    assert pulse
    return pulse


def test_a_camera_restarted_with_an_earlier_clock_is_missed() -> None:
    line = Line()
    line.see(score(0, Verdict.OK, boot=AHEAD))
    line.see(score(0, Verdict.OK, boot=RIGHT, captured_at=NOON + 20 * S), age_s=21)
    pulse = heard(beat(AHEAD), beat(AHEAD, BootEnd.CLEAN), *(beat(RIGHT, sent_s=s, captured=s) for s in range(10, 90)))
    watch = silence.look(line.state, {"cam-1": pulse}, POLICY, NOON + 90 * S, NOON)
    assert "look at the replicas" in watch.silent["cam-1"]
    assert not watch.alive


@given(st.data())
def test_former_boots_never_stand_for_the_one_that_runs(data: st.DataObject) -> None:
    """A worker reports the boots of its predecessors too, in any order with its own, until their spool is empty."""
    pulse, former = None, []
    for boot in data.draw(st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=4, unique=True)):
        own = [beat(boot, sent_s=data.draw(st.integers(-9, 9))) for _ in range(data.draw(st.integers(1, 3)))]
        ends_well = data.draw(st.booleans())
        for each in [*own, beat(boot, BootEnd.CLEAN)] if ends_well else own:
            for told in data.draw(st.permutations([each, *former])):
                pulse = hear(pulse, told)
            assert pulse
            assert pulse.beat == each or (each.end is BootEnd.CLEAN and pulse.beat.end is BootEnd.CLEAN)
        former.append(beat(boot, BootEnd.CLEAN if ends_well else BootEnd.DIED))


def test_a_boot_whose_scores_are_known_and_whose_heartbeats_are_not_is_watched() -> None:
    line = Line()
    line.see(score(0, Verdict.OK, boot="later"))
    pulse = heard(beat("earlier"), beat("earlier", BootEnd.CLEAN))
    assert silence.look(line.state, {"cam-1": pulse}, POLICY, NOON + 90 * S, NOON).silent.keys() == {"cam-1"}


def test_a_camera_that_ended_in_good_order_is_not_missed_although_a_former_boots_spool_was_scored_last() -> None:
    line = Line()
    for boot in (RIGHT, AHEAD):
        line.see(score(0, Verdict.OK, boot=boot))
    pulse = heard(beat(AHEAD), beat(AHEAD, BootEnd.DIED), beat(RIGHT), beat(RIGHT, BootEnd.CLEAN))
    watch = silence.look(line.state, {"cam-1": pulse}, POLICY, NOON + 90 * S, NOON)
    assert (watch.watched, watch.silent) == (0, {})


@pytest.mark.parametrize("sent_s", [80, 7290], ids=["stopped", "stopped, by a clock two hours ahead"])
def test_an_old_heartbeat_excuses_no_silence(sent_s: int) -> None:
    line = Line()
    line.see(score(0, Verdict.OK, boot=RIGHT))
    watch = silence.look(
        line.state,
        {"cam-1": Pulse(beat(RIGHT, sent_s=sent_s), NOON + (sent_s - 70) * S)},
        POLICY.model_copy(update={"triggered": True}),
        NOON + 90 * S,
        NOON,
    )
    assert watch.silent.keys() == {"cam-1"}


def test_nothing_is_told_before_the_past_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the past may end with a good end long ago, and would excuse a camera that died since."""
    settings = settings_for("127.0.0.1:1", "t.")
    topic, told, go_on = settings.topics.heartbeats.name, threading.Event(), threading.Event()
    past = [beat(AHEAD), beat(AHEAD, BootEnd.CLEAN), beat(RIGHT)]

    def follow(
        _: object, __: object, stop: threading.Event, *, reached: Callable[[], None], **___: object
    ) -> Iterator[Incoming]:
        for offset, each in enumerate(past):
            if offset == 2:
                told.set()
                go_on.wait(10)
            yield Incoming(topic, 0, offset, 0, b"k", each.to_json())
        reached()
        stop.wait(10)

    monkeypatch.setattr(pulses, "ends_of", lambda *_: {(topic, 0): len(past)})
    monkeypatch.setattr(pulses, "follow", follow)
    reader = PulseReader(settings)
    try:
        assert told.wait(10)
        assert reader.newest == {}
        assert not reader.wait_for_the_past(0)
        go_on.set()
        assert reader.wait_for_the_past(10)
        assert reader.newest["cam-1"].beat.boot_id == RIGHT
    finally:
        reader.close()


def test_reading_goes_on_where_it_broke_off(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_for("127.0.0.1:1", "t.")
    topic, starts = settings.topics.heartbeats.name, []

    def follow(*_: object, start: dict[tuple[str, int], int], **__: object) -> Iterator[Incoming]:
        starts.append(dict(start))
        yield Incoming(topic, 0, 7, 0, b"k", beat(RIGHT).to_json())
        raise OSError("away")

    monkeypatch.setattr(pulses, "ends_of", lambda *_: {(topic, 0): 8})
    monkeypatch.setattr(pulses, "follow", follow)
    monkeypatch.setattr(pulses, "RETRY_S", 0.01)
    reader = PulseReader(settings)
    try:
        wait_until(lambda: len(starts) > 1)
    finally:
        reader.close()
    assert starts[:2] == [{}, {(topic, 0): 8}]
