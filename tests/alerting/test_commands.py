"""`andon audit log`, `andon subscribe`, `andon alerting move-lines` and `andon plc` as a person uses them."""

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from alerting.factory import Line
from alerting.running import (
    alarms,
    andon,
    burst,
    commands,
    publish,
    read_states,
    wait_for_commands,
    with_more_partitions,
    worker,
)
from support.stream import make_anew, send_unreadable, settings_for, wait_until
from typer import BadParameter
from typer.testing import CliRunner

from pipeline.errors import AndonError
from pipeline.events import Act, Action, AuditEntry, ModelRef, Operation, ShadowScore, Verdict, now
from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.partitioning import partition_of
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.records import Incoming, Outgoing
from pipeline.settings import Settings
from workers.alerting.core.state import LineState, StateError
from workers.alerting.people import asking, audit_log
from workers.alerting.people.asking import NotAskedError, ask, who
from workers.alerting.people.audit_log import gaps, read_log
from workers.alerting.recovery import StoredLine, StoredLines, find_elsewhere, read_stored, state_record
from workers.cli import app
from workers.commands.since import moment
from workers.console.memory import Memory
from workers.console.reader import Reader
from workers.local.ports import free_ports
from workers.plc.ladder import HOLD, Inputs, Ladder
from workers.plc.station import Station

pytestmark = pytest.mark.services

CONTRACTS = Path(__file__).parents[2] / "docs" / "contracts"


def test_the_stops_that_a_shadow_bundle_would_have_made_are_told_and_no_command_is(settings: Settings) -> None:
    model = ModelRef(bundle="next", method="null", hash="n1")
    found = ShadowScore(bundle="next", verdict=Verdict.NOT_OK, score=9, threshold=7, model=model)
    with worker(settings):
        publish(settings, [one.model_copy(update={"shadow": found}) for one in burst(verdict=Verdict.OK)])
        topic = settings.topics.shadow_commands.name
        wait_until(lambda: len(list(read_to_end(settings, [topic]))) == 1)
    told = andon(settings, "alerting", "shadows", "--since", "1h")
    assert told.returncode == 0, told.stderr
    assert "shadow:next" in told.stdout
    assert "(1)" in told.stdout
    (entry,) = map(json.loads, andon(settings, "alerting", "shadows", "--json").stdout.splitlines())
    assert (entry["line_id"], entry["judge"], entry["stops"], entry["models"]) == (
        "line-1",
        "shadow:next",
        1,
        ["next n1"],
    )
    assert "no stop since" in andon(settings, "alerting", "shadows", "--line", "line-2").stdout
    assert commands(settings) == []
    assert alarms(settings) == []
    assert [entry.act for entry in read_log(settings, "line-1", None)] == []
    (line,) = andon(settings, "subscribe", "shadow-commands", "--from-beginning", "--count", "1").stdout.splitlines()
    assert json.loads(line)["model"]["bundle"] == "next"


def test_the_audit_log_tells_who_did_what_and_why_in_order(settings: Settings) -> None:
    with worker(settings):
        publish(settings, burst())
        wait_for_commands(settings, 1)
        shelved = andon(
            settings,
            "alarms",
            "shelve",
            "--line",
            "line-1",
            "--minutes",
            "5",
            "--reason",
            "nozzle",
            "--kind",
            "defects",
        )
        assert "defects SHELVED until" in shelved.stdout
        assert "(beneath: UNACK_ACTIVE)" in shelved.stdout
        assert andon(settings, "alarms", "unshelve", "--line", "line-1").returncode == 0
        assert andon(settings, "alarms", "reset", "--line", "line-1", "--reason", "mended").returncode == 1
    found = read_log(settings, "line-1", None)
    assert [(entry.actor, entry.act) for entry in found] == [
        ("andon", "raise"),
        ("andon", "HOLD"),
        ("ada", "shelve"),
        ("ada", "unshelve"),
        ("ada", "note"),
        ("ada", "refuse"),
    ]
    assert gaps(found) == []
    assert gaps([found[0], found[2]]) == ["line line-1: entries 2 are missing"]
    printed = andon(settings, "audit", "log", "--line", "line-1", "--since", "1h")
    assert printed.returncode == 0
    assert "shelve alarm defects → SHELVED by ada: nozzle" in printed.stdout
    assert andon(settings, "audit", "log", "--line", "line-2").stdout == ""


def entry(number: int, at: datetime, reason: str = "", epoch: int = 1) -> AuditEntry:
    return AuditEntry(
        number=number, line_id="line-1", at=at, actor="andon", act="HOLD", subject="line", reason=reason, epoch=epoch
    )


def write_log(settings: Settings, *entries: AuditEntry) -> None:
    publisher = Publisher(settings, "test")
    publisher.publish([Outgoing(settings.topics.audit_log.name, b"line-1", each.to_json()) for each in entries])
    publisher.close()


def test_an_entry_that_is_dated_a_moment_earlier_than_the_one_before_it_is_not_missing(settings: Settings) -> None:
    """A reply is dated when the line was read, and numbered when the worker heard of it."""
    at = now()
    write_log(settings, entry(1, at), entry(2, at - timedelta(seconds=2)), entry(3, at + timedelta(seconds=1)))
    found = read_log(settings, "line-1", at - timedelta(seconds=1))
    assert {each.number for each in found} == {1, 2, 3}
    assert gaps(found) == []


def test_the_last_hours_of_an_audit_log_are_found_without_reading_its_years(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is kept for ever, and who asked what was done since the morning waited for all of it."""
    read: list[Incoming] = []

    def counting(*arguments: Any, **options: Any) -> Iterator[Incoming]:
        for record in read_to_end(*arguments, **options):
            read.append(record)
            yield record

    monkeypatch.setattr(audit_log, "read_to_end", counting)
    monkeypatch.setattr(audit_log, "DATED_APART", timedelta(0))
    write_log(settings, *(entry(number, now()) for number in range(1, 6)))
    time.sleep(0.1)
    morning = now()
    write_log(settings, entry(6, morning))
    assert [each.number for each in read_log(settings, "line-1", morning)] == [6]
    assert len(read) == 1
    assert len(read_log(settings, None, None)) == 6
    assert len(read_log(settings, "line-1", datetime(1969, 1, 1, tzinfo=UTC))) == 6


def test_two_entries_of_one_number_are_both_told_and_a_repeat_is_not(settings: Settings) -> None:
    """After line-state was made anew, or by a worker that had lost its line."""
    at = now()
    first, other = entry(1, at, "a stop"), entry(1, at + timedelta(seconds=1), "another stop", epoch=2)
    write_log(settings, first, first, other)
    found = read_log(settings, "line-1", None)
    assert found == [first, other]
    (told,) = gaps(found)
    assert "line line-1: entries 1 stand there twice, with other content" in told


def test_every_event_keeps_the_schema_that_subscribers_go_by(settings: Settings) -> None:
    with worker(settings):
        publish(settings, burst("line-1") + burst("line-2"))
        wait_for_commands(settings, 2)
    topics = settings.topics
    kept = ((topics.alarms, "Alarm"), (topics.line_commands, "LineCommand"), (topics.audit_log, "AuditEntry"))
    for topic, name in kept:
        schema = json.loads((CONTRACTS / f"{name}.v1.json").read_text())
        events = [json.loads(record.value or b"") for record in read_to_end(settings, [topic.name])]
        assert events
        for event in events:
            jsonschema.validate(event, schema)
    shown = andon(settings, "subscribe", "alarms", "--line", "line-2", "--from-beginning", "--count", "1")
    assert json.loads(shown.stdout)["line_id"] == "line-2"


def test_a_changed_number_of_partitions_forgets_no_latched_alarm(kafka_bootstrap: str, unique: str) -> None:
    few = settings_for(kafka_bootstrap, unique, line_partitions=1)
    ensure_topics(few, few.topics)
    line = next(f"line-{n}" for n in range(50) if partition_of(f"line-{n}".encode(), 2) == 1)
    with worker(few):
        publish(few, burst(line))
        wait_for_commands(few, 1)
        many = with_more_partitions(few)
        refused = andon(many, "alerting", "move-lines", "--yes")
        assert (refused.returncode, "alerting workers still run (1 in group" in refused.stderr) == (2, True)
    with worker(many):
        publish(many, burst(line, first=10) + burst("line-2"))
        wait_for_commands(many, 2)
        with pytest.raises(StateError, match="move-lines"):
            ask(many, line, Act.ACKNOWLEDGE, actor="ada", reason="")
    assert [command.line_id for command in commands(many)] == [line, "line-2"]
    assert "not done" in andon(many, "alerting", "move-lines").stdout
    assert andon(many, "alerting", "move-lines", "--yes").returncode == 0
    assert find_elsewhere(many).lines == {}
    assert line not in read_states(many, [0])
    after = read_states(many, [1])[line]
    assert after.state.level is Action.HOLD
    assert [entry.alarm.kind for entry in after.state.latched] == ["defects"]
    with worker(many):
        freed = andon(many, "alarms", "ack", "--line", line)
        assert freed.returncode == 0
        assert andon(many, "alarms", "reset", "--line", line, "--reason", "mended").returncode == 0


def test_the_advice_for_a_damaged_state_brings_back_the_latched_alarm(settings: Settings) -> None:
    with worker(settings):
        publish(settings, burst())
        wait_for_commands(settings, 1)
    stored = read_states(settings)["line-1"].state
    topic, epoch = settings.topics.line_state.name, ("epoch", str(stored.epoch).encode())
    publisher = Publisher(settings, "test")
    publisher.publish([Outgoing(topic, b"line-1", stored.to_json()[:400], (epoch,))])
    with pytest.raises(StateError, match="andon alerting restore-line line-1"):
        read_states(settings)
    listed = andon(settings, "alarms", "list")
    assert (listed.returncode, "andon alerting restore-line line-1" in listed.stderr) == (2, True)
    assert (
        "defects; the line is asked for HOLD (not done" in andon(settings, "alerting", "restore-line", "line-1").stdout
    )
    assert andon(settings, "alerting", "restore-line", "line-1", "--yes").returncode == 0
    with worker(settings):
        assert andon(settings, "alarms", "ack", "--line", "line-1").returncode == 0
        assert andon(settings, "alarms", "reset", "--line", "line-1", "--reason", "mended").returncode == 0
    newer = stored.to_json().replace(b'"schema_version":2', b'"schema_version":3')
    publisher.publish([Outgoing(topic, b"line-1", newer, (("epoch", b"99"),))])
    publisher.close()
    refused = andon(settings, "alerting", "restore-line", "line-1", "--yes")
    assert (refused.returncode, "written by a newer Andon: run that version" in refused.stderr) == (2, True)


def test_a_line_of_which_all_that_is_stored_cannot_be_read_is_not_told_as_one_without_an_alarm(
    settings: Settings,
) -> None:
    send_unreadable(settings, settings.topics.line_state.name)
    (odd,) = read_to_end(settings, [settings.topics.line_state.name])
    lines = {partition_of(line.encode(), 2): line for line in ("line-0", "line-2")}
    hidden, other = lines[odd.partition], lines[1 - odd.partition]
    for arguments in ((), ("--line", hidden)):
        listed = andon(settings, "alarms", "list", *arguments)
        assert (listed.returncode, f"{odd.place}" in listed.stderr, listed.stdout) == (2, True, "")
    assert andon(settings, "alarms", "list", "--line", other).stdout == "no alarm\n"
    with pytest.raises(StateError, match=f"restore-line {hidden}"):
        ask(settings, hidden, Act.ACKNOWLEDGE, actor="ada", reason="")
    with pytest.raises(NotAskedError, match="has no alarm"):
        ask(settings, other, Act.ACKNOWLEDGE, actor="ada", reason="")
    page = Reader(settings, Memory(settings.topics))
    page.start()
    try:
        wait_until(lambda: page.fault is None)
        assert odd.place in (page.standing_fault or "")
    finally:
        page.close()


def test_a_refusal_is_told_although_another_answer_did_not_come_in_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test stands for a worker that ends between the two: a real one can't be ended just there."""
    (standing,) = Line().burst().state.alarms
    second = standing.model_copy(update={"alarm": standing.alarm.model_copy(update={"alarm_id": uuid.uuid4()})})
    with closing(Publisher(settings, "test")) as publisher:
        publisher.publish([state_record(settings, LineState(line_id="line-1", alarms=(standing, second)))])

    def refuse_first(settings: Settings, operations: Sequence[Operation], timeout_s: float) -> None:
        assert len(operations) == 2
        refusal = entry(1, now(), "no alarm stands on this line")
        write_log(settings, refusal.model_copy(update={"act": "refuse", "operation_id": operations[0].operation_id}))

    monkeypatch.setattr(asking, "_publish", refuse_first)
    answer = ask(settings, "line-1", Act.RESET, actor="ada", reason="mended", kind="defects", timeout_s=8)
    assert (answer.answered, [told.reason for told in answer.untold]) == (False, ["no alarm stands on this line"])


def test_who_reads_for_long_what_stands_waits_for_the_answer_all_the_same(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 1,500 lines in alarm on a busy machine reading took the whole time-out: each act was done, and each time the
    question was whether a worker runs. The sleep stands for the lines."""
    with closing(Publisher(settings, "test")) as publisher:
        publisher.publish([state_record(settings, Line().burst().state)])
    waits: list[float] = []

    def read_slowly(*asked: Any, **how: Any) -> StoredLines:
        time.sleep(3)
        return read_stored(*asked, **how)

    def wait(settings: Settings, line: StoredLine, audit_from: int, timeout_s: float) -> Iterator[list[Incoming]]:
        waits.append(timeout_s)
        return iter(())

    monkeypatch.setattr(asking, "read_stored", read_slowly)
    monkeypatch.setattr(asking, "_events_since", wait)
    ask(settings, "line-1", Act.ACKNOWLEDGE, actor="ada", reason="", timeout_s=2)
    assert waits[0] > 0


def test_a_person_is_heard_after_operations_were_made_anew(settings: Settings) -> None:
    with worker(settings):
        publish(settings, burst())
        wait_for_commands(settings, 1)
        assert andon(settings, "alarms", "ack", "--line", "line-1").returncode == 0
        assert andon(settings, "alarms", "ack", "--line", "line-1").returncode == 1  # the next number is 2
    make_anew(settings, settings.topics.operations)
    with worker(settings):
        freed = andon(settings, "alarms", "reset", "--line", "line-1", "--reason", "mended")
    assert (freed.returncode, commands(settings)[-1].action) == (0, Action.UNHOLD_PERMITTED), freed.stderr


@pytest.mark.parametrize("inverted", [(), ("held", "stop")])
def test_buttons_at_the_line_are_pressed_by_a_person(inverted: Sequence[str]) -> None:
    """However its signals are wired: who pressed was told that a held line is free."""
    (port,) = free_ports(1)
    clock = [0.0]
    ladder = Ladder("line-1", clock=lambda: clock[0], inverted=frozenset(inverted))
    with Station([ladder], modbus_port=port):
        ladder.write(Inputs(1, 1, HOLD))
        still = CliRunner().invoke(app, ["plc", "press", "reset", "--modbus-port", str(port)])
        assert still.output == "unit 1: held, standing\n"
        ladder.write(Inputs(1, 2, 0))
        free = CliRunner().invoke(app, ["plc", "press", "reset", "--modbus-port", str(port)])
        assert free.output == "unit 1: free, standing\n"
        started = CliRunner().invoke(app, ["plc", "press", "start", "--modbus-port", str(port)])
        assert started.output == "unit 1: free, running\n"
        clock[0] += 60  # no heartbeat
        lost = CliRunner().invoke(app, ["plc", "press", "reset", "--modbus-port", str(port)])
        assert lost.output == "unit 1: held, standing; watchdog lost: nobody watches this line\n"
        nobody = CliRunner().invoke(app, ["plc", "press", "start", "--modbus-port", str(port), "--unit", "2"])
        assert "has no unit 2" in str(nobody.exception)


def test_a_simulated_plc_that_nobody_can_reach_is_refused() -> None:
    told = CliRunner().invoke(app, ["plc", "run", "--line", "line-1"])
    assert "give --modbus-port" in str(told.exception)


def test_two_lines_of_one_name_are_no_simulated_plc() -> None:
    (port,) = free_ports(1)
    told = CliRunner().invoke(app, ["plc", "run", "--line", "a", "--line", "a", "--modbus-port", str(port)])
    assert "--line a is there twice" in str(told.exception)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--line", "a/b", "--modbus-port", "1502"], "--line 'a/b': no line has such a name"),
        (["--line", "a", "--mqtt", "127.0.0.1:0"], "can't start with --mqtt 127.0.0.1:0: Invalid port"),
        (["--line", "a", "--webhook-port", "1502", "--webhook-secret", "/dev/null"], "is empty: anybody could sign"),
    ],
)
def test_a_simulated_plc_that_no_line_could_use_or_that_anybody_could_is_refused(options: list[str], told: str) -> None:
    """One with an empty secret took whatever was signed with nothing; the others began, or ended in a trace."""
    refused = CliRunner().invoke(app, ["plc", "run", *options])
    assert isinstance(refused.exception, AndonError)
    assert told in str(refused.exception)


@pytest.mark.parametrize("side", ["--modbus-port {}", "--opcua-port {}", "--webhook-port {} --webhook-secret SECRET"])
def test_a_port_that_the_simulated_plc_cannot_have_is_named(side: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a secret")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        option = side.format(taken.getsockname()[1])
        arguments = option.replace("SECRET", str(tmp_path / "secret")).split()
        refused = CliRunner().invoke(app, ["plc", "run", "--line", "a", *arguments])
    assert f"can't start with {option.partition(' --')[0]}: " in str(refused.exception)


def test_a_broker_that_the_simulated_plc_does_not_reach_is_named() -> None:
    (port,) = free_ports(1)
    refused = CliRunner().invoke(app, ["plc", "run", "--line", "a", "--mqtt", f"127.0.0.1:{port}"])
    assert f"can't start with --mqtt 127.0.0.1:{port}: " in str(refused.exception)


def test_an_address_that_is_no_opc_ua_url_is_not_asked_for_its_certificate(tmp_path: Path) -> None:
    """It was answered by the library's "host and port was not specified"."""
    refused = CliRunner().invoke(app, ["alerting", "pin", "192.0.2.21:4840", "--out", str(tmp_path / "server.pem")])
    assert "begins with opc.tcp://" in str(refused.exception)


def test_since_takes_spans_and_times() -> None:
    assert 5399 < (now() - moment("90m")).total_seconds() < 5410
    with pytest.raises(BadParameter, match="before any record"):
        moment("0001-01-01")
    assert moment("2025-11-22T06:00").isoformat() == "2025-11-22T06:00:00+00:00"


def test_a_since_that_is_still_to_come_is_refused() -> None:
    """East of Greenwich a local time is, without its zone; the audit then looked at nothing, and said that all is
    accounted for."""
    local = f"{now() + timedelta(hours=8):%Y-%m-%dT%H:%M}"
    with pytest.raises(BadParameter, match=f"{local}' is still to come: it is .* UTC"):
        moment(local)


@pytest.mark.parametrize("since", ["yesterday", "-1h", "999999d"])
def test_a_since_that_is_none_is_refused_in_words(since: str) -> None:
    told = CliRunner().invoke(app, ["audit", "log", "--since", since])
    assert (told.exit_code, told.exception.__class__) == (2, SystemExit)
    assert f"'{since}' is" in told.output


def test_without_a_user_variable_the_login_name_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    if os.getuid() == 0:
        assert who(None) == "root"
    with pytest.raises(NotAskedError, match="--actor"):
        who(" ")
