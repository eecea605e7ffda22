"""captured = scored + dropped + dead + in flight, and whatever breaks it shows."""

import time
from datetime import timedelta

import pytest

from pipeline.audit.accounting import CameraAccount, Ledger
from pipeline.audit.deleted import NOTHING, Deleted
from pipeline.events import BootEnd, DeadReason, Doubt, Frame, Heartbeat, KafkaPosition, ModelRef, Score, Verdict, now
from pipeline.kafka.dead_letters import dead_letter
from pipeline.kafka.records import Incoming

pytestmark = pytest.mark.unit

CAMERA, BOOT = "cam-1", "b1"


class Plant:
    """Writes what a camera and the replicas would have written."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.offset = 0

    def publish(self, sequence: int, boot: str = BOOT) -> Incoming:
        record = Incoming("frames", 0, self.offset, 0, CAMERA.encode(), b"x", tuple(frame(sequence, boot).to_headers()))
        self.offset += 1
        self.ledger.add_frame(record)
        return record

    def score(
        self,
        record: Incoming,
        value: float = 0.1,
        model: str = "m1",
        verdict: Verdict = Verdict.OK,
        doubts: tuple[Doubt, ...] = (),
    ) -> None:
        facts = Frame.from_headers(record.headers)
        score = Score(
            **facts.model_dump(
                include={"camera_id", "line_id", "station_id", "boot_id", "sequence", "part_id", "recipe"}
            ),
            frame_id=facts.frame_id,
            captured_at=facts.captured_at,
            scored_at=now(),
            verdict=verdict,
            doubts=doubts,
            score=value,
            threshold=0.5,
            model=ModelRef(bundle="b", method="null", hash=model),
            map_key=None,
            map_expires_at=None,
            position=KafkaPosition(topic="frames", partition=record.partition, offset=record.offset),
        )
        self.ledger.add_score(Incoming("scores", 0, 0, 0, b"line", score.to_json()))

    def die(self, record: Incoming, reason: DeadReason = DeadReason.UNDECODABLE) -> None:
        letter = dead_letter(record, "frames.dead", reason, "why")
        self.ledger.add_dead(Incoming("frames.dead", 0, 0, 0, letter.key, letter.value, tuple(letter.headers)))

    def beat(self, captured: int, *, boot: str = BOOT, age_s: float = 0, **facts: object) -> None:
        counts = {"published": 0, "buffered": 0, "spooled": 0, "source_connected": True} | facts
        beat = Heartbeat(
            camera_id=CAMERA,
            line_id="line",
            boot_id=boot,
            captured=captured,
            sent_at=now() - timedelta(seconds=age_s),
            **counts,
        )
        self.ledger.add_heartbeat(Incoming("heartbeats", 0, 0, 0, b"k", beat.to_json()))

    def account(self, committed: int | None = None) -> CameraAccount:
        (account,) = self.ledger.accounts({0: self.offset if committed is None else committed})
        return account


def frame(sequence: int, boot: str) -> Frame:
    return Frame(
        camera_id=CAMERA,
        line_id="line",
        station_id="s",
        recipe="r",
        boot_id=boot,
        sequence=sequence,
        part_id=f"p{sequence}",
        captured_at=now(),
        content_type="image/png",
    )


def test_a_good_run_balances() -> None:
    plant = Plant()
    for sequence in range(3):
        plant.score(plant.publish(sequence))
    plant.beat(3, end=BootEnd.CLEAN)
    account = plant.account()
    assert (account.captured, account.scored, account.missing, account.balanced) == (3, 3, 0, True)


def test_every_end_is_counted_once() -> None:
    plant = Plant()
    plant.score(plant.publish(0), 0.9, verdict=Verdict.NOT_OK)
    plant.die(plant.publish(1))
    plant.publish(4)
    plant.beat(6, dropped={"buffer_full": 2}, buffered=1)
    account = plant.account(committed=2)
    assert account.balanced
    assert (account.scored, account.not_ok, account.dead, account.dropped) == (
        1,
        1,
        {"undecodable": 1},
        {"buffer_full": 2},
    )
    assert account.in_flight == 2, "one record not committed yet, one in the camera's memory"


def test_a_committed_frame_without_a_result_is_missing() -> None:
    plant = Plant()
    plant.publish(0)
    plant.beat(1, end=BootEnd.CLEAN)
    assert plant.account(committed=0).balanced
    account = plant.account(committed=1)
    assert (account.missing, account.balanced) == (1, False)


@pytest.mark.parametrize("cut", [Deleted({0: 1.0}, {0: 0.0}), Deleted({0: 0.0}, {0: 1.0})], ids=["scores", "dead"])
def test_a_frame_whose_result_kafka_may_have_deleted_is_not_missing_and_any_other_is(cut: Deleted) -> None:
    """All arrive at 0 ms; what arrived before 1 ms was deleted."""
    plant = Plant()
    plant.ledger.deleted = cut
    plant.publish(0)
    plant.score(plant.publish(1))
    plant.publish(2)
    plant.beat(4, buffered=1)
    account = plant.account(committed=2)
    assert (account.captured, account.scored, account.in_flight, account.unanswered) == (3, 1, 2, 1)
    assert account.balanced
    plant.ledger.deleted = Deleted({0: 0.0}, {0: 0.0})
    plant.publish(3)
    assert plant.account(committed=4).missing == 1


def test_a_frame_that_the_camera_counted_and_nobody_has_is_missing() -> None:
    plant = Plant()
    plant.score(plant.publish(0))
    plant.beat(2, end=BootEnd.CLEAN)
    account = plant.account()
    assert (account.missing, account.balanced) == (1, False)


def test_what_a_killed_camera_held_in_memory_is_dropped_with_that_reason() -> None:
    plant = Plant()
    plant.score(plant.publish(0))
    plant.beat(5, buffered=4)
    plant.score(plant.publish(0, boot="b2"))
    plant.beat(1, boot="b2", end=BootEnd.CLEAN)
    account = plant.account()
    assert account.dropped == {"died": 4}
    assert account.balanced


def test_a_clock_set_back_hides_no_drop() -> None:
    plant = Plant()
    plant.beat(0, age_s=-3600)
    for sequence in range(4):
        plant.publish(sequence)
    plant.beat(10, published=4, dropped={"buffer_full": 6}, end=BootEnd.CLEAN)
    account = plant.account(committed=0)
    assert (account.captured, account.dropped, account.in_flight, account.balanced) == (10, {"buffer_full": 6}, 4, True)


def test_a_killed_camera_is_superseded_by_a_boot_of_an_earlier_clock() -> None:
    plant = Plant()
    plant.beat(5, boot="b2", buffered=4)
    plant.score(plant.publish(0, boot="b2"))
    plant.beat(1, boot="b1", buffered=1)
    account = plant.account()
    assert (account.dropped, account.in_flight, account.balanced) == ({"died": 4}, 1, True)


def test_a_running_camera_is_not_superseded_by_the_former_boot_that_it_reports() -> None:
    plant = Plant()
    plant.beat(2, boot="b2", spooled=2, end=BootEnd.DIED)
    for _ in range(2):
        plant.beat(1, boot="b1", buffered=1)
        plant.beat(2, boot="b2", spooled=2, end=BootEnd.DIED)
    account = plant.account()
    assert (account.dropped, account.in_flight, account.balanced) == ({"died": 0}, 3, True)


def test_the_spool_of_a_killed_camera_is_in_flight() -> None:
    plant = Plant()
    plant.beat(5, spooled=3, end=BootEnd.DIED)
    account = plant.account()
    assert (account.in_flight, account.dropped, account.balanced) == (3, {"died": 2}, True)


def test_frames_that_got_through_before_the_camera_died_are_not_counted_as_lost() -> None:
    plant = Plant()
    for sequence in range(4):
        plant.score(plant.publish(sequence))
    plant.beat(5, dropped={"died": 3}, end=BootEnd.DIED)
    account = plant.account()
    assert (account.captured, account.scored, account.dropped, account.balanced) == (5, 4, {"died": 1}, True)


def test_a_score_twice_with_the_same_result_is_a_duplicate() -> None:
    plant = Plant()
    record = plant.publish(0)
    plant.score(record, 0.1)
    plant.score(record, 0.1 * (1 + 1e-9))
    account = plant.account()
    assert (account.scored, account.duplicates, account.balanced) == (1, 1, True)


def test_a_score_twice_with_different_results_is_a_fault() -> None:
    plant = Plant()
    record = plant.publish(0)
    plant.score(record, 0.1)
    plant.score(record, 0.2)
    assert not plant.account().balanced


def test_another_model_may_think_otherwise() -> None:
    plant = Plant()
    record = plant.publish(0)
    plant.score(record, 0.1)
    plant.score(record, 0.2, model="m2")
    assert plant.account().balanced


def test_a_frame_sent_twice_counts_once() -> None:
    plant = Plant()
    for record in (plant.publish(0), plant.publish(0)):
        plant.score(record)
    plant.beat(1, end=BootEnd.CLEAN)
    account = plant.account()
    assert (account.captured, account.scored, account.duplicates, account.balanced) == (1, 1, 1, True)


def test_a_copy_committed_without_a_result_shows_although_its_twin_was_scored() -> None:
    plant = Plant()
    plant.score(plant.publish(0))
    plant.publish(0)
    assert not plant.account().balanced


def test_a_record_without_headers_belongs_to_its_key() -> None:
    plant = Plant()
    stray = Incoming("frames", 0, 0, 0, b"cam-9", b"x")
    plant.ledger.add_frame(stray)
    plant.offset = 1
    assert not plant.account().balanced
    plant.die(stray, DeadReason.CONTRACT)
    account = plant.account()
    assert (account.camera_id, account.dead, account.balanced) == ("cam-9", {"contract": 1}, True)


def test_more_drops_than_frames_do_not_balance() -> None:
    plant = Plant()
    plant.score(plant.publish(0))
    plant.beat(1, dropped={"rejected": 1}, end=BootEnd.CLEAN)
    assert not plant.account().balanced


@pytest.mark.parametrize("reason", ["shutdown", "spool_full", "unreadable"])
def test_a_frame_given_up_on_its_way_that_kafka_took_is_no_drop(reason: str) -> None:
    """An end while the answers did not come through was told as a fault for good, with nothing missing."""
    plant = Plant()
    for sequence in range(3):
        plant.score(plant.publish(sequence))
    plant.beat(5, published=1, dropped={reason: 3, "buffer_full": 1}, end=BootEnd.CLEAN)
    account = plant.account()
    assert (account.scored, account.dropped, account.balanced) == (3, {reason: 1, "buffer_full": 1}, True)


def test_a_frame_whose_record_was_lost_after_its_score_is_scored() -> None:
    """As by a broker that lost the end of its log in a power cut."""
    plant = Plant()
    plant.score(plant.publish(0))
    for sequence in (1, 9):  # the second of them is a stranger's
        headers = tuple(frame(sequence, BOOT).to_headers())
        plant.score(Incoming("frames", 0, sequence, 0, CAMERA.encode(), b"x", headers))
    plant.beat(3, published=3, end=BootEnd.CLEAN)
    account = plant.account()
    assert (account.captured, account.scored, account.missing) == (3, 2, 1)


def test_a_frame_whose_record_was_lost_after_its_dead_letter_is_dead() -> None:
    plant = Plant()
    plant.score(plant.publish(0))
    for sequence in (1, 9):  # the second of them is a stranger's
        headers = tuple(frame(sequence, BOOT).to_headers())
        plant.die(Incoming("frames", 0, sequence, 0, CAMERA.encode(), b"x", headers))
    plant.beat(3, published=3, end=BootEnd.CLEAN)
    account = plant.account()
    assert (account.captured, account.scored, account.dead, account.missing) == (3, 1, {"undecodable": 1}, 1)


def test_what_became_of_a_former_topic_s_frames_is_not_taken_for_the_end_of_those_in_their_places() -> None:
    """`frames` was deleted and made anew: its offsets begin at 0 again, and the dead letters of the old one stay."""
    plant = Plant()
    plant.die(plant.publish(0))
    plant.score(plant.publish(1))
    plant.ledger.boots.clear()
    plant.offset = 0
    plant.publish(2)  # where 0 was
    plant.score(plant.publish(3))
    plant.score(plant.publish(2))
    plant.beat(4, published=4, end=BootEnd.CLEAN)
    account = plant.account()
    assert (account.dead, account.scored, account.missing) == ({"undecodable": 1}, 3, 0)
    assert account.contradictions == (f"{CAMERA}:{BOOT}:2: its copy at (0, 0) was committed without a result",)


def test_expired_frames_are_not_missing() -> None:
    plant = Plant()
    plant.offset = 100
    plant.score(plant.publish(40))
    plant.beat(41, dropped={"buffer_full": 3}, end=BootEnd.CLEAN)
    account = plant.account()
    assert (account.captured, account.scored, account.balanced) == (1, 1, True)


def expired_from(
    first: int, *, scored: int, captured: int, deleted: Deleted = NOTHING, **facts: object
) -> CameraAccount:
    """Of a camera whose frames before `first` Kafka has deleted, after `scored` of them had a score."""
    plant = Plant()
    plant.ledger.deleted = deleted
    plant.offset = first
    for sequence in range(first, captured):
        plant.score(plant.publish(sequence))
    for sequence in range(scored):
        at = Incoming("frames", 0, sequence, 0, CAMERA.encode(), b"x", tuple(frame(sequence, BOOT).to_headers()))
        plant.score(at)
    plant.beat(captured, **facts)
    return plant.account()


def test_frames_that_kafka_deleted_before_they_were_scored_are_missing() -> None:
    """Every replica stood for longer than the topic keeps its frames, and the audit was green."""
    account = expired_from(60, scored=20, captured=100, published=100)
    assert (account.captured, account.scored, account.missing, account.balanced) == (80, 40, 40, False)


@pytest.mark.parametrize(
    "facts",
    [
        {"dropped": {"empty": 40}},
        {"dropped": {"empty": 10}, "buffered": 10, "spooled": 20},
    ],
)
def test_what_a_camera_dropped_in_an_expired_span_is_not_missing(facts: dict[str, object]) -> None:
    account = expired_from(60, scored=20, captured=100, **facts)
    assert (account.missing, account.balanced) == (0, True)


def test_frames_whose_dead_letters_may_have_expired_too_are_not_missing() -> None:
    account = expired_from(60, scored=20, captured=100, published=100, deleted=Deleted({0: 0.0}, {0: 1.0}))
    assert (account.missing, account.balanced) == (0, True)


def test_what_was_scored_before_it_expired_is_not_missing() -> None:
    account = expired_from(60, scored=60, captured=100, published=100)
    assert (account.captured, account.scored, account.missing) == (40, 40, 0)


def test_a_frame_of_another_contract_is_dead_and_neither_missing_nor_one_more() -> None:
    """As of a camera worker that is newer than the replicas."""
    plant = Plant()
    plant.score(plant.publish(0))
    for offset, sequence in ((7, 1), (8, 1), (9, 5)):  # the last two are a stranger's
        headers = dict(frame(sequence, BOOT).to_headers()) | {"schema_version": b"2"}
        newer = Incoming("frames", 0, offset, 0, CAMERA.encode(), b"x", tuple(headers.items()))
        plant.ledger.add_frame(newer)
        plant.die(newer, DeadReason.CONTRACT)
    plant.beat(2, published=2, end=BootEnd.CLEAN)
    account = plant.account()
    assert (account.captured, account.scored, account.dead, account.missing) == (4, 1, {"contract": 3}, 0)
    assert account.balanced


def test_many_frames_of_another_contract_are_taken_in_at_once() -> None:
    """Each went through all frames of its boot: after a roll-out an audit took hours, and the page's thread with it."""
    plant, count = Plant(), 60_000
    headers = dict(frame(0, BOOT).to_headers()) | {"schema_version": b"2"}
    del headers["frame_id"]
    for sequence in range(count):
        of_this = tuple((headers | {"sequence": b"%d" % sequence}).items())
        plant.ledger.add_frame(Incoming("frames", 0, sequence, 0, CAMERA.encode(), b"x", of_this))
    plant.beat(count, published=count)
    begun = time.thread_time()
    assert plant.account(committed=0).in_flight == count
    assert time.thread_time() - begun < 10  # squared, it is far beyond that on any machine


def test_a_frame_whose_number_no_camera_can_have_reached_is_named() -> None:
    """A forged one: the audit told of billions of missing frames, and not why."""
    plant = Plant()
    for sequence in (0, 1, 5_000_000_000):
        plant.score(plant.publish(sequence))
    plant.beat(2, published=2)
    (told,) = plant.account().contradictions
    assert told.startswith(f"{CAMERA}:{BOOT}:5000000000: its number is 4,999,999,999 above")
    honest = Plant()
    honest.score(honest.publish(0))
    honest.score(honest.publish(9_999))
    assert not honest.account().contradictions


def test_a_copy_that_came_late_contradicts_nothing() -> None:
    """Kafka had the frame, its acknowledgement was lost in the crash, and ten minutes later it was sent again."""
    plant = Plant()
    plant.score(plant.publish(0))
    again = plant.publish(0)
    plant.score(again, verdict=Verdict.NOT_DECIDABLE, doubts=(Doubt.LATE,))
    assert plant.account().balanced
    plant.score(again, 0.2, verdict=Verdict.NOT_DECIDABLE, doubts=(Doubt.LATE,))
    assert not plant.account().balanced
