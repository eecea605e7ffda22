import uuid
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from alerting.factory import Line, operation
from alerting.factory import score as alerting_score
from console.plant import BOOT, score

from pipeline.events import (
    CHECK,
    Act,
    Action,
    Alarm,
    AlarmKind,
    AlarmState,
    AuditEntry,
    BootEnd,
    CommandReply,
    Doubt,
    Heartbeat,
    Outcome,
    Score,
    Verdict,
    now,
    to_ms,
)
from pipeline.kafka.records import Incoming
from pipeline.topics import topics
from workers.alerting.core.reports import Answer, Link, apply
from workers.alerting.policy import LinePolicy, NotDecidableLimit, Response
from workers.console import lines
from workers.console.desk import Options
from workers.console.gauges import Backlog, Gauges
from workers.console.lines import Lamp, Mood
from workers.console.live import Live
from workers.console.memory import MAX_CAMERAS, MAX_LINES, Memory
from workers.console.pages.common import drawings
from workers.console.pages.health import Running
from workers.console.remembered import SCORES_PER_CAMERA
from workers.console.tiles import TileState, bar_share, tile

pytestmark = pytest.mark.unit
TOPICS = topics()


def memory_of(*events: object) -> Memory:
    memory = Memory(TOPICS)
    for event in events:
        tell(memory, event)
    return memory


def tell(memory: Memory, event: object) -> None:
    by_type = {
        "Score": TOPICS.scores, "Heartbeat": TOPICS.heartbeats, "Alarm": TOPICS.alarms,
        "LineCommand": TOPICS.line_commands, "CommandReply": TOPICS.command_replies, "AuditEntry": TOPICS.audit_log,
    }  # fmt: skip
    topic = by_type[type(event).__name__].name
    memory.read(Incoming(topic, 0, 0, 0, b"key", event.to_json()))  # type: ignore[attr-defined]


def beat(**changes: object) -> Heartbeat:
    return Heartbeat(
        camera_id="cam-1", line_id="line-1", boot_id=BOOT, captured=9, published=9, buffered=0, spooled=0,
        source_connected=True, sent_at=now(),
    ).model_copy(update=changes)  # fmt: skip


def stopped() -> Line:
    return Line().burst()


def test_a_frame_that_was_scored_twice_counts_once() -> None:
    memory = memory_of(*(score(number) for number in (0, 1, 1, 0, 2)))
    (camera,) = memory.cameras()
    assert camera.scored[BOOT].count == 3


def test_what_is_kept_of_cameras_is_bounded() -> None:
    memory = Memory(TOPICS)
    for number in range(SCORES_PER_CAMERA + 50):
        tell(memory, score(number))
    assert len(memory.recent("cam-1")) == SCORES_PER_CAMERA
    for number in range(MAX_CAMERAS + 10):
        tell(memory, score(0, camera=f"other-{number}"))
    assert len(memory.cameras()) == MAX_CAMERAS


def test_more_cameras_than_there_is_room_for_do_not_push_one_another_out_and_are_counted() -> None:
    """The wall showed others at each look, all lines were sent anew to all, and nothing said that any was missing."""
    memory, names = Memory(TOPICS), [f"cam-{number}" for number in range(MAX_CAMERAS + 10)]
    for sequence in range(3):
        for name in names:
            tell(memory, score(sequence, camera=name))
    assert {camera.camera_id for camera in memory.cameras()} == set(names[:MAX_CAMERAS])
    assert all(len(camera.scores) == 3 for camera in memory.cameras())
    reader, gauges = SimpleNamespace(fault=None, standing_fault=None, behind=None), SimpleNamespace(now=CALM)
    live = Live(memory, reader, gauges, lambda line: None, 10)  # type: ignore[arg-type]
    assert f"10 cameras more than the {MAX_CAMERAS} that this page can hold report" in above_the_lines(live)


def test_a_camera_that_has_gone_makes_room_for_another() -> None:
    two_days_ago = now() - timedelta(days=2)
    memory = memory_of(*(score(0, camera=f"cam-{number}") for number in range(MAX_CAMERAS - 1)))
    for event in (score(0, camera="renamed", captured_at=two_days_ago), score(0, camera="its-new-name")):
        tell(memory, event)
    known = {camera.camera_id for camera in memory.cameras()}
    assert ("renamed" in known, "its-new-name" in known) == (False, True)
    assert memory.left_out == 0


@pytest.mark.parametrize("former", ["ended in good order", "silent for a quarter of an hour"])
def test_cameras_that_were_all_renamed_give_their_places_to_those_that_report(former: str) -> None:
    """All dead names were kept on the wall for a day, and the new ones left out."""
    ended = former == "ended in good order"
    last = now() - timedelta(minutes=0 if ended else 15)
    memory = Memory(TOPICS)
    for number in range(MAX_CAMERAS):
        tell(memory, score(0, camera=f"old-{number}", captured_at=last))
        if ended:
            tell(memory, beat(camera_id=f"old-{number}", end=BootEnd.CLEAN))
    for number in range(300):
        tell(memory, score(0, camera=f"new-{number}"))
    assert sum(camera.camera_id.startswith("new-") for camera in memory.cameras()) == 300


def test_a_line_that_stands_keeps_its_order_however_many_lines_there_are() -> None:
    (command,) = stopped().commands
    released = [
        command.model_copy(update={"line_id": f"other-{number}", "action": Action.UNHOLD_PERMITTED})
        for number in range(MAX_LINES)
    ]
    assert memory_of(command, *released).line("line-1").command == command


def test_what_was_asked_of_a_line_does_not_change_under_who_asked() -> None:
    """Pages went over the replies while others came in, and ended in 'deque mutated during iteration'."""
    line = stopped()
    (command,) = line.commands
    answer = Answer("line-1", line.state.epoch, command.command_id, Outcome.ACCEPTED, "modbus://plc", "1", 1, now())
    _, told = apply(line.state, answer, now())
    (reply,) = (one for one in told if isinstance(one, CommandReply))
    memory = memory_of(command)
    asked = memory.line("line-1")
    tell(memory, reply)
    assert (list(asked.replies), memory.line("line-1").reply) == ([], reply)


def test_a_record_against_its_contract_is_counted_and_harms_nothing() -> None:
    memory = Memory(TOPICS)
    memory.read(Incoming(TOPICS.scores.name, 0, 0, 0, b"k", b"{not json"))
    memory.read(Incoming(TOPICS.alarms.name, 0, 0, 0, b"k", None))
    assert memory.unreadable.total() == 2
    assert memory.cameras() == []


def test_no_tile_shows_that_somebody_tried_the_factory() -> None:
    tried = score(0).model_copy(update={"camera_id": CHECK, "line_id": CHECK})
    memory = memory_of(tried, beat(camera_id=CHECK, line_id=CHECK), score(0))
    assert [camera.camera_id for camera in memory.cameras()] == [score(0).camera_id]


def test_the_life_of_an_alarm_is_whole_although_its_end_was_learnt_first() -> None:
    line = stopped()
    line.see(operation(Act.ACKNOWLEDGE))
    line.see(operation(Act.RESET))
    last, *earlier = reversed(line.alarms)
    memory = memory_of(last, *earlier, last)
    assert [change.act for change in memory.history(last.alarm_id)] == [Act.RAISE, Act.ACKNOWLEDGE, Act.RESET]
    assert memory.standing() == []


def test_of_an_alarm_that_comes_and_goes_only_the_last_change_is_held_whole() -> None:
    """Each of 60 held its evidence: 2,000 such alarms were 700 MB."""
    first = stopped().alarms[0]
    shown = [first.evidence.model_copy(update={"frame_ids": (f"cam-1:{BOOT}:{number}",)}) for number in (1001, 1002)]
    changes = [first.model_copy(update={"revision": i + 1, "evidence": shown[i]}) for i in range(2)]
    memory = memory_of(*changes)
    assert memory.alarm(first.alarm_id) == changes[1]
    told = memory.history(first.alarm_id)
    assert [change.reason for change in told] == [first.reason] * 2
    assert "1001" not in repr(told)


def test_what_became_of_an_operation_is_told_from_the_alarm_or_from_the_audit_log() -> None:
    line = stopped()
    early, seen = operation(Act.RESET), operation(Act.ACKNOWLEDGE)
    line.see(early)
    line.see(seen)
    memory = memory_of(*line.alarms)
    refused, done = memory.outcome(early.operation_id), memory.outcome(seen.operation_id)
    assert refused
    assert not refused.done
    assert "acknowledge the alarm before" in refused.words
    assert done
    assert done.done
    nowhere = uuid.uuid4()
    entry = AuditEntry(
        number=1, line_id="line-1", at=now(), actor="ada", act="refuse", subject="reset", reason="no such alarm stands",
        epoch=1, operation_id=nowhere,
    )  # fmt: skip
    tell(memory, entry)
    told = memory.outcome(nowhere)
    assert told
    assert told.words == "reset refused: no such alarm stands"


def test_of_an_act_on_several_alarms_what_was_refused_is_told_beside_what_was_done() -> None:
    line = stopped()
    both = operation(Act.ACKNOWLEDGE)
    line.see(both)
    done = line.last()
    refused = done.model_copy(update={"act": Act.NOTE, "reason": "acknowledge refused: look again", "revision": 3})
    outcome = memory_of(done, refused).outcome(both.operation_id)
    assert outcome
    assert outcome.done
    assert outcome.words == "defects: acknowledged; acknowledge refused: look again"


def test_a_stop_that_a_clock_dated_ahead_shows_until_it_is_taken_back_and_no_longer() -> None:
    ahead = stopped().commands[0]
    free = ahead.model_copy(
        update={
            "action": Action.UNHOLD_PERMITTED,
            "command_id": uuid.uuid4(),
            "issued_at": ahead.issued_at - timedelta(hours=1),
        }
    )
    assert memory_of(ahead, free).line("line-1").level is None
    assert memory_of(free, ahead, free).line("line-1").level is None
    next_stop = ahead.model_copy(
        update={"episode_id": "2", "command_id": uuid.uuid4(), "issued_at": free.issued_at + timedelta(minutes=1)}
    )
    assert memory_of(next_stop, ahead, free, next_stop).line("line-1").level is Action.HOLD


def test_the_next_stop_shows_although_the_release_before_it_was_dated_ahead() -> None:
    stop = stopped().commands[0].model_copy(update={"epoch": 2})
    ahead = {"command_id": uuid.uuid4(), "issued_at": stop.issued_at + timedelta(hours=1)}
    free = stop.model_copy(update={"action": Action.UNHOLD_PERMITTED, **ahead})
    later = {"episode_id": "2", "command_id": uuid.uuid4(), "issued_at": stop.issued_at + timedelta(minutes=5)}
    next_stop = stop.model_copy(update=later)
    assert memory_of(stop, free, next_stop).line("line-1").level is Action.HOLD
    assert memory_of(next_stop, stop, free, next_stop).line("line-1").level is Action.HOLD
    of_an_earlier_worker = next_stop.model_copy(update={"epoch": stop.epoch - 1})
    assert memory_of(stop, free, of_an_earlier_worker).line("line-1").level is None


def test_a_simulated_command_never_shows_as_a_stop() -> None:
    command = stopped().commands[0]
    memory = memory_of(command.model_copy(update={"simulated": True}))
    assert memory.line("line-1").level is None
    tell(memory, command)
    assert memory.line("line-1").level is Action.HOLD
    given_free = command.model_copy(
        update={
            "action": Action.UNHOLD_PERMITTED,
            "command_id": uuid.uuid4(),
            "issued_at": command.issued_at + timedelta(seconds=5),
        }
    )
    tell(memory, given_free)
    tell(memory, command)  # read again after a restart
    assert memory.line("line-1").level is None


def state_of(*events: object, in_s: float = 0, **options: Any) -> tuple[TileState, str]:
    (camera,) = memory_of(*events).cameras()
    found = tile(camera, now() + timedelta(seconds=in_s), stale_after_s=10, **options)
    return found.state, found.words


def old(seconds: float) -> Score:
    return score(0, captured_at=now() - timedelta(seconds=seconds))


def test_a_tile_tells_what_the_camera_sees_or_why_it_does_not() -> None:
    assert state_of(score(0))[0] is TileState.OK
    assert state_of(score(0, Verdict.NOT_OK))[0] is TileState.NOT_OK
    assert state_of(score(0, Verdict.NOT_DECIDABLE)) == (TileState.NOT_INSPECTED, "not inspected: dark")
    assert state_of(score(0, Verdict.NOT_DECIDABLE, doubts=(Doubt.FROZEN,)))[0] is TileState.FROZEN
    assert state_of(old(11)) == (TileState.STALE, "no new frame")
    late = old(30).model_copy(update={"scored_at": now()})  # replicas lag, or the camera's clock is behind
    assert state_of(late) == (TileState.STALE, "its frames come late")
    assert state_of(old(11), triggered=True)[0] is TileState.OK  # no part, no frame
    assert state_of(beat()) == (TileState.WAITING, "no frame scored yet")
    assert state_of(score(0), beat(source_connected=False)) == (TileState.OFFLINE, "source not reachable")
    assert state_of(score(0), beat(), in_s=11, triggered=True)[0] is TileState.OFFLINE
    assert state_of(score(0), beat(end=BootEnd.DIED)) == (TileState.OFFLINE, "its worker died")
    assert state_of(old(500), beat(end=BootEnd.CLEAN))[0] is TileState.ENDED
    assert state_of(score(0), beat(end=BootEnd.CLEAN))[0] is TileState.OK  # its last frames are still coming
    assert state_of(score(0, boot_id="20261123T000000"), beat(end=BootEnd.DIED))[0] is TileState.OK  # an earlier boot


def test_a_tile_does_not_say_ok_of_what_was_known_too_late_to_stop_the_line() -> None:
    late = old(5).model_copy(update={"scored_at": now()})
    assert state_of(late, max_age_s=3) == (TileState.STALE, "its frames come too late")
    assert state_of(late, max_age_s=3, triggered=True)[0] is TileState.STALE
    assert state_of(late, max_age_s=10)[0] is TileState.OK
    bad = late.model_copy(update={"verdict": Verdict.NOT_OK})  # a bad part stays loud
    assert state_of(bad, max_age_s=3) == (TileState.NOT_OK, "NOT OK, known too late")


@pytest.mark.parametrize("ahead_s", [-40, 0, 4, 7200])
def test_a_camera_is_alive_as_long_as_it_is_heard_whatever_its_clock_says(ahead_s: float) -> None:
    ahead = timedelta(seconds=ahead_s)
    seen, heard = score(0, captured_at=now() + ahead, scored_at=now()), beat(sent_at=now() + ahead)
    assert "no sign of its worker" not in state_of(seen, heard)
    assert state_of(seen, heard, in_s=11) == (TileState.OFFLINE, "no sign of its worker")
    ended = beat(end=BootEnd.CLEAN, sent_at=now() + ahead)
    assert state_of(seen, ended, in_s=11)[0] is TileState.ENDED


def test_a_heartbeat_that_has_lain_in_kafka_proves_no_life() -> None:
    assert state_of(score(0), beat(sent_at=now() - timedelta(minutes=2)))[0] is TileState.OFFLINE


def test_a_tile_follows_the_boot_that_said_last_that_it_runs_whatever_its_clock_said() -> None:
    ended = beat(boot_id="b2", end=BootEnd.CLEAN)
    frame = old(500).model_copy(update={"boot_id": "b1"})
    assert state_of(ended, beat(boot_id="b1"), frame)[0] is TileState.STALE
    assert state_of(ended, beat(boot_id="b1", source_connected=False), frame)[0] is TileState.OFFLINE
    assert state_of(beat(boot_id="b1", source_connected=False), ended, frame)[0] is TileState.OFFLINE
    back = beat(boot_id="b1", sent_at=now() - timedelta(seconds=3), source_connected=False)
    assert state_of(beat(boot_id="b1"), back, frame)[0] is TileState.OFFLINE


def test_the_boot_that_runs_is_not_forgotten_for_its_earlier_clock() -> None:
    boots = [f"b{number}" for number in range(9, 0, -1)]
    told = [event for boot in boots for event in (beat(boot_id=boot), score(0, boot_id=boot))]
    (camera,) = memory_of(*told, score(0, boot_id="b1")).cameras()
    assert camera.beat
    assert (camera.beat.boot_id, camera.scored["b1"].count, len(camera.beats)) == ("b1", 1, 4)


def test_dead_letters_of_a_boot_before_hide_no_frame_of_this_one() -> None:
    """After a camera's restart "in flight" was too low by all that had died before it."""
    memory = memory_of(score(0), beat(captured=9))
    for offset, boot in enumerate((b"b-before", b"b-before", BOOT.encode())):
        headers = (("camera_id", b"cam-1"), ("boot_id", boot), ("dead.reason", b"undecodable"))
        memory.read(Incoming(TOPICS.frames_dead.name, 0, offset, 0, b"cam-1", b"?", headers))
    (camera,) = memory.cameras()
    assert camera.beat
    shown = Running.of(camera, camera.beat)
    assert (shown.dead, shown.in_flight) == ({"undecodable": 1}, 7)


def test_dead_letters_that_a_page_did_not_read_are_not_in_flight() -> None:
    """After its restart it counted those beyond the newest hundred of a partition so until the camera's next boot."""
    (camera,) = memory_of(score(0), score(200), beat(captured=203)).cameras()
    assert camera.beat
    assert Running.of(camera, camera.beat).in_flight == 2


def test_what_is_told_of_a_day_or_a_week_grows_no_older_while_the_page_runs() -> None:
    """After months the dead letters "in the last day" were those of months, and so were the alarms "of seven days"."""
    standing = stopped().alarms[0].model_copy(update={"changed_at": now() - timedelta(days=30)})
    memory = memory_of(standing)
    for days in (8, 6):
        over = {"alarm_id": uuid.uuid4(), "state": AlarmState.NORMAL, "changed_at": now() - timedelta(days=days)}
        tell(memory, standing.model_copy(update=over))
        died_ms = to_ms(now() - timedelta(hours=4 * days - 1))
        memory.read(Incoming(TOPICS.frames_dead.name, 0, days, died_ms, b"cam-1", b"?", ()))
    recent, last = memory.alarms()
    assert now() - recent.changed_at < timedelta(days=7)
    assert last == standing  # until somebody resets it
    assert [frame.place for frame in memory.dead()] == [(0, 6)]


def test_the_bar_has_its_threshold_in_the_middle() -> None:
    assert [bar_share(value, 2.0) for value in (0.0, 2.0, 3.0, 99.0, -1.0, None)] == [0.0, 0.5, 0.75, 1.0, 0.0, 0.0]
    assert bar_share(-3.0, -5.0) > 0.5 > bar_share(-6.0, -5.0)


HOLDS = LinePolicy(k=3, n=5, action=Response.HOLD)
CALM = Gauges(Backlog(), Backlog())


def banner(line: Line, policy: LinePolicy | None = None, gauges: Gauges = CALM, late_s: float = 1) -> lines.LineView:
    replies = [event for event in line.effects if isinstance(event, CommandReply)]
    memory = memory_of(*line.alarms, *line.commands, *replies)
    at = line.commands[0].issued_at + timedelta(seconds=late_s) if line.commands else now()
    return lines.look(memory.line("line-1"), memory.standing("line-1"), [], policy, gauges, at)


def test_a_stop_is_loud_until_reset_and_what_is_offered_follows_the_life_of_its_alarms() -> None:
    line = stopped()
    first = banner(line)
    assert (first.mood, first.acknowledge, first.reset) == (Mood.STOPPED, True, False)
    assert first.headline == "HOLD: 3 of 5 parts bad, camera cam-1"
    assert first.evidence
    assert len(first.evidence.frame_ids) == 3
    line.see(operation(Act.ACKNOWLEDGE))
    assert (banner(line).acknowledge, banner(line).reset) == (False, True)
    line.see(operation(Act.RESET))
    after = banner(line)
    assert (after.mood, after.acknowledge, after.reset) == (Mood.CALM, False, False)


def test_the_evidence_beside_a_stop_is_of_the_parts_that_it_is_asked_for() -> None:
    """Where its alarm had been raised before, as while the plant only alarmed, the parts of then were shown."""
    line = Line(HOLDS.model_copy(update={"action": Response.ALARM_ONLY})).burst()
    assert banner(line).evidence == line.alarms[0].evidence
    line.policy = HOLDS
    line.burst(first=10)
    (command,) = line.commands
    assert command.evidence != line.alarms[-1].evidence
    assert banner(line).evidence == command.evidence


def test_a_stop_for_frames_that_nobody_judged_does_not_say_that_parts_were_bad() -> None:
    line = Line(HOLDS.model_copy(update={"not_decidable": NotDecidableLimit(action=Response.HOLD)}))
    for number in range(20):
        line.see(alerting_score(number, Verdict.NOT_DECIDABLE))
    assert banner(line).headline == "HOLD: 10 of 20 frames not inspected, camera cam-1"


def test_a_stop_that_no_plc_confirms_says_so() -> None:
    assert banner(stopped()).detail == "waiting for the PLC to confirm"
    assert "NOT CONFIRMED" in banner(stopped(), late_s=30).detail
    assert "No PLC is connected" in banner(stopped(), HOLDS).detail
    assert banner(stopped(), HOLDS).modes == ("NO PLC: commands are published only",)


def test_a_stop_that_was_confirmed_by_a_plc_that_is_lost_since_is_not_told_as_how_the_line_stands() -> None:
    """It may have been given free at the PLC, or have lost its power, and the banner went on as if it had looked."""
    line = stopped()
    (command,) = line.commands
    answer = Answer(
        "line-1", line.state.epoch, command.command_id, Outcome.ACCEPTED, "modbus://plc", "stop=1", 1, now()
    )
    line.state, told = apply(line.state, answer, now())
    line.effects += told
    assert "NOT KNOWN NOW" not in banner(line).detail
    line.state, told = apply(line.state, Link("line-1", line.state.epoch, False, now(), "can't be worked with"), now())
    line.effects += told
    assert banner(line).detail.startswith("HOLD read back from the PLC")
    assert "NOT KNOWN NOW" in banner(line).detail
    line.state, told = apply(line.state, Link("line-1", line.state.epoch, True, now()), now())
    line.effects += told
    assert "NOT KNOWN NOW" not in banner(line).detail


def test_a_shelved_stop_stays_loud_and_a_shelved_alarm_does_not() -> None:
    line = stopped()
    line.see(operation(Act.SHELVE))
    assert banner(line).mood is Mood.STOPPED
    assert banner(line).acknowledge  # beneath the shelf
    only = Line(policy=HOLDS.model_copy(update={"action": Response.ALARM_ONLY})).burst()
    assert banner(only).mood is Mood.ALARM
    only.see(operation(Act.SHELVE))
    assert banner(only).mood is Mood.CALM
    assert banner(only).headline == "no alarm but what is shelved: Defects"  # the next shift has to know
    only.see(operation(Act.UNSHELVE))
    assert "shelved" not in banner(only).headline


@pytest.mark.parametrize(
    ("change", "words"),
    [({"shadow": True}, "SHADOW"), ({"action": Response.ALARM_ONLY}, "ALARM ONLY")],
)
def test_a_line_that_is_never_stopped_says_so(change: dict[str, object], words: str) -> None:
    assert words in banner(Line(), HOLDS.model_copy(update=change)).modes[0]


def test_why_an_alarm_was_raised_stays_said_after_its_cause_is_gone() -> None:
    line = Line(policy=HOLDS.model_copy(update={"action": Response.ALARM_ONLY})).burst()
    raised = line.alarms[-1]
    gone = raised.model_copy(
        update={
            "act": Act.CLEAR,
            "revision": 2,
            "reason": "no camera sees it any more",
            "state": AlarmState.UNACK_LATCHED,
        }
    )
    for order in ((raised, gone), (gone, raised)):  # what stands is learnt before its history
        memory = memory_of(*order)
        standing = memory.standing("line-1")
        view = lines.look(memory.line("line-1"), standing, [], HOLDS, CALM, now(), causes=memory.causes())
        assert "3 of the last 5 parts NOT_OK" in view.headline
        assert "NOT_OK" in view.cause(standing[0])
    only = memory_of(gone)
    assert only.causes() == {gone.alarm_id: "no camera sees it any more"}


def test_a_lamp_tells_the_cause_and_not_what_a_person_said_of_it() -> None:
    raised = (
        stopped()
        .alarms[-1]
        .model_copy(update={"kind": AlarmKind.CAMERA_SILENT, "latching": False, "reason": "its clock is behind"})
    )
    seen = {"act": Act.ACKNOWLEDGE, "revision": 2, "state": AlarmState.ACK_ACTIVE, "reason": "on my way"}
    memory = memory_of(raised, raised.model_copy(update=seen))
    view = lines.look(memory.line("line-1"), memory.standing(), [], HOLDS, CALM, now(), causes=memory.causes())
    assert next(light.words for light in view.lights if light.name == "Heartbeat") == "stands: its clock is behind"


def test_a_plc_link_tells_how_its_fault_goes_on_and_not_how_it_began() -> None:
    away = stopped().alarms[-1].model_copy(update={"kind": AlarmKind.PLC, "latching": False, "reason": "it is away"})
    back = {"act": Act.NOTE, "revision": 2, "actor": "andon", "reason": "it has taken epoch 9"}
    refused = {"act": Act.NOTE, "revision": 3, "actor": "ada", "reason": "reset refused"}
    for more in ((back,), (back, refused)):
        memory = memory_of(away, *(away.model_copy(update=change) for change in more))
        view = lines.look(memory.line("line-1"), memory.standing(), [], HOLDS, CALM, now(), causes=memory.causes())
        assert next(light.words for light in view.lights if light.name == "PLC link") == "it has taken epoch 9"


def test_a_stopped_line_comes_before_all_others() -> None:
    memory = memory_of(alerting_score(0, camera="a", line_id="a-line"), *stopped().alarms, *stopped().commands)
    reader, gauges = SimpleNamespace(fault=None, standing_fault=None, behind=None), SimpleNamespace(now=CALM)
    live = Live(memory, reader, gauges, lambda line: None, 10)  # type: ignore[arg-type]
    assert [(view.line_id, view.mood) for view in live.snapshot().lines] == [
        ("line-1", Mood.STOPPED),
        ("a-line", Mood.CALM),
    ]


def above_the_lines(live: Live) -> str:
    desk = SimpleNamespace(live=live, options=Options(data=Path()))
    return drawings(desk).now().head  # type: ignore[arg-type]


def test_many_stops_are_counted_and_named_on_top_since_no_screen_shows_each() -> None:
    """Of fifty lines that stood a large screen showed eight, and nothing said that there were more."""

    def told(count: int) -> str:
        lines = [stopped() for _ in range(count)]
        names = [f"line-{number}" for number in range(count)]
        events = [
            event.model_copy(
                update={"line_id": name, "alarm_id" if isinstance(event, Alarm) else "command_id": uuid.uuid4()}
            )
            for name, line in zip(names, lines, strict=True)
            for event in (*line.alarms, *line.commands)
        ]
        reader, gauges = SimpleNamespace(fault=None, standing_fault=None, behind=None), SimpleNamespace(now=CALM)
        live = Live(memory_of(*events), reader, gauges, lambda line: None, 10)  # type: ignore[arg-type]
        return above_the_lines(live)

    assert "lines to stop" not in told(4)
    assert "Andon asks 12 lines to stop: line-0, line-1, line-2," in told(12)
    assert "line-29 and 40 more" in told(70)


def test_a_page_that_is_older_than_the_worker_says_that_it_misses_alarms() -> None:
    (known,) = stopped().alarms
    newer = known.to_json().replace(b'"defects"', b'"earthquake"')
    memory = memory_of(alerting_score(0))
    memory.read(Incoming(TOPICS.alarms.name, 0, 0, 0, b"line-1", newer))
    reader, gauges = SimpleNamespace(fault=None, standing_fault=None, behind=None), SimpleNamespace(now=CALM)
    live = Live(memory, reader, gauges, lambda line: None, 10)  # type: ignore[arg-type]
    assert "Records of alarms or commands (1) can't be read" in above_the_lines(live)


def test_a_page_that_is_still_reading_the_past_says_so_and_calls_nothing_good() -> None:
    memory = memory_of(alerting_score(0))
    why = "the page is still reading what the factory told: 7 records are left"
    reader, gauges = SimpleNamespace(fault=None, standing_fault=None, behind=why), SimpleNamespace(now=CALM)
    found = Live(memory, reader, gauges, lambda line: None, 10).snapshot()  # type: ignore[arg-type]
    assert found.fault == why
    lamps = {light.name: light.lamp for light in found.lines[0].lights}
    assert Lamp.UNKNOWN is lamps["Judging"] is lamps["Heartbeat"]


def test_no_line_is_drawn_anew_because_the_page_has_read_further() -> None:
    """In the seconds after a start each of 500 was, at each look: the number of what is left stood in its lamps."""
    memory = memory_of(alerting_score(0))

    def seen(left: int) -> tuple[lines.LineView, ...]:
        why = f"the page is still reading what the factory told: {left} records are left"
        reader, gauges = SimpleNamespace(fault=None, standing_fault=None, behind=why), SimpleNamespace(now=CALM)
        return Live(memory, reader, gauges, lambda line: None, 10).snapshot().lines  # type: ignore[arg-type]

    assert seen(9) == seen(7)


def test_nobody_judging_is_a_bad_lamp_and_not_knowing_is_none() -> None:
    def lamp(gauges: Gauges, fault: str | None = None) -> Lamp:
        memory = memory_of(alerting_score(0))
        view = lines.look(memory.line("line-1"), [], [], None, gauges, now(), fault)
        return next(light.lamp for light in view.lights if light.name == "Judging")

    assert lamp(CALM) is Lamp.GOOD
    assert lamp(Gauges(Backlog(), Backlog(9, 60))) is Lamp.BAD
    assert lamp(Gauges(Backlog(9, 60), Backlog())) is Lamp.BAD
    assert lamp(Gauges(Backlog(9, 2), Backlog())) is Lamp.GOOD
    assert lamp(CALM, "Kafka is away") is Lamp.UNKNOWN


@pytest.mark.parametrize(("count", "words"), [(1, "1 camera scored and read"), (2, "2 cameras scored and read")])
def test_one_camera_is_not_several(count: int, words: str) -> None:
    reader, gauges = SimpleNamespace(fault=None, standing_fault=None, behind=None), SimpleNamespace(now=CALM)
    memory = memory_of(*(score(0, camera=f"cam-{number}") for number in range(count)))
    (line,) = Live(memory, reader, gauges, lambda line: None, 10).snapshot().lines  # type: ignore[arg-type]
    assert words in [light.words for light in line.lights]


def test_a_line_that_nobody_judges_is_loud_although_no_alarm_stands() -> None:
    def view(gauges: Gauges, *alarms: Alarm) -> lines.LineView:
        memory = memory_of(alerting_score(0), *alarms)
        return lines.look(memory.line("line-1"), memory.standing("line-1"), [], HOLDS, gauges, now())

    dead = Gauges(Backlog(), Backlog(9, 60))
    assert view(CALM).mood is Mood.CALM
    assert view(dead).mood is Mood.ALARM
    assert view(dead).headline.startswith("NOT WATCHED: scores wait, and alerting does not read them")
    assert "NOT WATCHED" in view(dead).announcement
    put_aside = (
        stopped()
        .alarms[0]
        .model_copy(
            update={
                "kind": AlarmKind.CAMERA_SILENT,
                "state": AlarmState.SHELVED,
                "beneath": AlarmState.ACK_ACTIVE,
                "latching": False,
            }
        )
    )
    assert view(dead, put_aside).mood is Mood.CALM  # a person knows


def test_a_camera_that_was_renamed_does_not_look_broken_for_ever() -> None:
    def seen(hours: float) -> TileState:
        long_ago = now() - timedelta(hours=hours)
        memory = memory_of(score(0, captured_at=long_ago), beat(captured=1, published=1, sent_at=long_ago))
        (camera,) = memory.cameras()
        return tile(camera, now(), stale_after_s=10).state

    assert seen(23) is TileState.OFFLINE
    assert seen(25) is TileState.ENDED


def test_lines_and_cameras_stand_as_people_count() -> None:
    names = [("line-10", "b-2"), ("line-2", "a-10"), ("line-2", "a-9"), ("line-1", "z")]
    memory = memory_of(*(score(0, camera=camera, line_id=line) for line, camera in names))
    assert memory.lines() == ["line-1", "line-2", "line-10"]
    assert [camera.camera_id for camera in memory.cameras()] == ["z", "a-9", "a-10", "b-2"]


def test_no_heartbeat_is_called_good_that_nobody_moves() -> None:
    def lamp(*, age_s: float = 1, gauges: Gauges = CALM, line: Line | None = None) -> Lamp:
        memory = memory_of(score(0, captured_at=now() - timedelta(seconds=age_s)), *(line.commands if line else ()))
        (camera,) = memory.cameras()
        seen_now = tile(camera, now(), stale_after_s=10)
        view = lines.look(memory.line("line-1"), [], [seen_now], HOLDS, gauges, now())
        return next(light.lamp for light in view.lights if light.name == "Heartbeat")

    assert lamp() is Lamp.GOOD
    assert lamp(age_s=20) is Lamp.GOOD  # stale to the eye, and not silent yet
    assert lamp(age_s=40) is Lamp.BAD
    assert lamp(age_s=40, line=stopped()) is Lamp.GOOD  # a line that stands brings no frames
    assert lamp(gauges=Gauges(Backlog(), Backlog(9, 60))) is Lamp.BAD


def test_an_alarm_whose_cause_is_gone_is_quieter_and_no_lamp_stays_bad_for_it() -> None:
    def view(state: AlarmState, cameras: int = 3) -> lines.LineView:
        line = stopped()
        memory = memory_of(
            *(
                line.alarms[0].model_copy(
                    update={
                        "alarm_id": uuid.uuid4(),
                        "kind": AlarmKind.CAMERA_SILENT,
                        "camera_id": f"cam-{number}",
                        "state": state,
                        "latching": False,
                    }
                )
                for number in range(cameras)
            )
        )
        return lines.look(memory.line("line-1"), memory.standing("line-1"), [], None, CALM, now())

    active, over = view(AlarmState.UNACK_ACTIVE), view(AlarmState.UNACK_RTN)
    assert (active.mood, over.mood) == (Mood.ALARM, Mood.SEEN)
    assert over.acknowledge
    assert "back to normal" in over.headline
    heartbeats = [next(light.lamp for light in one.lights if light.name == "Heartbeat") for one in (active, over)]
    assert heartbeats[0] is Lamp.BAD
    assert heartbeats[1] is not Lamp.BAD
    (group,) = active.groups  # told once
    assert group.cameras == "cam-0, cam-1, cam-2"
    assert "cam-0" in active.headline  # whose cause does not name it
    assert view(AlarmState.UNACK_ACTIVE, cameras=30).groups[0].cameras.endswith("cam-4 and 25 more")
