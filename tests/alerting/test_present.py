"""A worker whose clock is behind: old parts are old all the same."""

from datetime import datetime, timedelta

import pytest
from alerting.factory import heartbeat, score
from alerting.running import alarms, burst, commands, publish, wait_for_commands, worker
from support.stream import wait_until

from pipeline.events import Act, AlarmKind, Verdict, now, to_ms
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings
from workers.alerting import service
from workers.alerting.people.asking import ask
from workers.alerting.present import Present

S, HOUR = timedelta(seconds=1), timedelta(hours=1)


@pytest.mark.unit
def test_the_brokers_time_goes_over_a_clock_that_is_behind_and_over_no_other(caplog: pytest.LogCaptureFixture) -> None:
    right, at_s = now(), 1000.0

    def told(own: datetime) -> Present:
        present = Present(lambda: own, lambda: at_s)
        present.heard(to_ms(right))
        return present

    assert Present(lambda: right - HOUR)() == right - HOUR  # nothing was heard
    assert told(right + HOUR)() == right + HOUR
    assert told(right - 50 * S)() == right - 50 * S
    behind = told(right - HOUR)
    assert behind() == right
    at_s += 7.5
    assert behind() == right + 7.5 * S
    assert [record.levelname for record in caplog.records] == ["ERROR"]  # once
    assert "Where it is Kafka's that is ahead, parts look too old" in caplog.text  # this one can't tell
    behind.heard(to_ms(right - HOUR))  # it was the broker that was wrong, and it was set right
    assert behind() == right - HOUR


@pytest.mark.unit
@pytest.mark.parametrize("ahead", [True, False])
def test_a_clock_that_is_ahead_is_told_and_a_backlog_is_none(ahead: bool, caplog: pytest.LogCaptureFixture) -> None:
    right, at_s = now(), 0.0
    present = Present(lambda: right + at_s * S + (HOUR if ahead else 0 * S), lambda: 1000 + at_s)
    for n in range(40):
        present.heard(to_ms(right + at_s * S if ahead else right - HOUR + n * 60 * S))
        at_s += 1
    said = [record.getMessage() for record in caplog.records]
    assert [" 3600 s ahead of Kafka's" in text for text in said] == ([True] if ahead else [])
    assert present() - right >= (HOUR if ahead else 0 * S)


@pytest.mark.services
def test_a_worker_an_hour_behind_stops_no_line_for_parts_of_an_hour_ago(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "Present", lambda: Present(lambda: now() - HOUR))
    publisher = Publisher(settings, "test")
    publisher.publish([Outgoing(settings.topics.heartbeats.name, b"cam-1:b1", heartbeat().to_json())])
    publisher.close()
    publish(settings, [score(i, Verdict.NOT_OK, captured_at=now() - HOUR) for i in range(3)])
    with worker(settings):
        wait_until(lambda: bool(alarms(settings)))
    assert AlarmKind.LATE in {alarm.kind for alarm in alarms(settings)}
    assert not commands(settings)


@pytest.mark.services
def test_who_answers_an_alarm_at_once_is_understood_by_a_worker_whose_clock_is_ahead(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alarm is of later than the answer, by that clock."""
    monkeypatch.setattr(service, "Present", lambda: Present(lambda: now() + 40 * S))
    with worker(settings):
        publish(settings, burst())
        wait_for_commands(settings, 1)
        for act in (Act.ACKNOWLEDGE, Act.RESET):
            answer = ask(settings, "line-1", act, actor="ada", reason="seen", timeout_s=90)
            assert answer.changes
            assert not answer.refused
