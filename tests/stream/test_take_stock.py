"""The audit of a span of time: frames from before it are not missed."""

import os
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.structs import OffsetAndMetadata
from support.stream import BOOT, frame, outgoing, settings_for
from typer.testing import CliRunner

from pipeline.audit.take_stock import take_stock
from pipeline.events import Heartbeat, KafkaPosition, ModelRef, Score, Verdict, now
from pipeline.groups import INSPECTION
from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.partitioning import partition_of
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.reading import ends_of
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings
from workers.commands.audit import audit

pytestmark = pytest.mark.services


def captured(settings: Settings, since: datetime | None) -> int:
    (account,) = take_stock(settings, since=since)
    assert account.balanced
    return account.captured


def heartbeat(settings: Settings, captured: int, boot: str = BOOT) -> Outgoing:
    beat = Heartbeat(
        camera_id="cam-1",
        line_id="line-1",
        boot_id=boot,
        sent_at=now(),
        source_connected=True,
        captured=captured,
        published=captured,
        dropped={},
        buffered=0,
        spooled=0,
    )
    return Outgoing(settings.topics.heartbeats.name, f"cam-1:{boot}".encode(), beat.to_json())


def commit_all(settings: Settings, frames: str) -> None:
    """As replicas that have read every frame."""
    group = settings.group(INSPECTION)
    with closing(KafkaConsumer(bootstrap_servers=settings.kafka_bootstrap, group_id=group)) as consumer:
        places = [TopicPartition(frames, n) for n in consumer.partitions_for_topic(frames) or ()]
        consumer.commit({at: OffsetAndMetadata(end, "", -1) for at, end in consumer.end_offsets(places).items()})


def delete_records(settings: Settings, topic: str, partition: int, before: int) -> None:
    """As Kafka does by itself once a partition holds more than it may."""
    with closing(KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)) as admin:
        admin.delete_records({TopicPartition(topic, partition): before})


def test_an_audit_since_a_moment_leaves_out_what_came_before(kafka_bootstrap: str, unique: str) -> None:
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    publisher = Publisher(settings, "test")
    publisher.publish(outgoing(settings.topics.frames.name, frame(i)) for i in range(10))
    time.sleep(0.01)  # the broker's clock has milliseconds
    moment = datetime.now(UTC)
    publisher.publish(outgoing(settings.topics.frames.name, frame(i)) for i in range(10, 16))
    publisher.publish([heartbeat(settings, captured=16)])
    publisher.close()

    assert captured(settings, None) == 16
    assert captured(settings, moment) == 6
    assert captured(settings, moment + timedelta(hours=1)) == 0

    # After a week-end without frames Kafka has forgotten all of them, and still knows the heartbeats of Friday.
    for place, end in ends_of(settings, [settings.topics.frames.name]).items():
        delete_records(settings, *place, before=end)
    assert captured(settings, None) == 0


def test_an_audit_that_finds_no_frame_does_not_say_that_all_are_accounted_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the clock of this machine is ahead of Kafka's, `--since 15m` is later than all that there is."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP", settings.kafka_bootstrap)
    monkeypatch.setenv("ANDON_TOPIC_PREFIX", settings.andon_topic_prefix)
    found = CliRunner().invoke(audit, ["--since", "15m"])
    assert (found.exit_code, found.output.count("There is no frame since then")) == (0, 1), found.output


def score(sequence: int) -> Score:
    facts = frame(sequence).model_dump(exclude={"schema_version", "content_type", "repeats"})
    model, place = ModelRef(bundle="b", method="null", hash="h"), KafkaPosition(topic="other", partition=9, offset=0)
    found = {"verdict": Verdict.OK, "score": 0.1, "threshold": 0.5, "map_key": None, "map_expires_at": None}
    frame_id = frame(sequence).frame_id
    return Score(**facts, **found, frame_id=frame_id, scored_at=now(), model=model, position=place)


def limit(settings: Settings, topic: str, **limits: int) -> None:
    """`retention_ms=1` …"""
    values = {name.replace("_", "."): str(value) for name, value in limits.items()}
    with closing(KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)) as admin:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, values)])


def delete_scores(settings: Settings, before: int) -> None:
    """Of a partition that is full."""
    limit(settings, settings.topics.scores.name, retention_bytes=1)
    line = partition_of(b"line-1", settings.andon_line_partitions)
    delete_records(settings, settings.topics.scores.name, line, before=before)


def test_frames_whose_scores_kafka_deleted_first_are_told_of_and_not_missing(kafka_bootstrap: str, unique: str) -> None:
    """A busy line fills what its partition of `scores` may take within hours; its frames are kept for a day."""
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    frames, scores = settings.topics.frames.name, settings.topics.scores.name
    publisher = Publisher(settings, "test")
    publisher.publish(outgoing(frames, frame(i)) for i in range(3))
    publisher.publish([Outgoing(scores, b"line-1", score(i).to_json()) for i in range(3)])
    time.sleep(0.01)  # the broker's clock has milliseconds
    publisher.publish([outgoing(frames, frame(3))])
    publisher.publish([Outgoing(scores, b"line-1", score(3).to_json())])
    time.sleep(0.01)
    publisher.publish([outgoing(frames, frame(4))])
    publisher.close()
    commit_all(settings, frames)
    (account,) = take_stock(settings)
    assert (account.captured, account.scored, account.missing, account.unanswered) == (5, 4, 1, 0)
    delete_scores(settings, before=3)
    (account,) = take_stock(settings)
    assert (account.captured, account.scored, account.missing, account.unanswered) == (2, 1, 1, 3)


def test_scores_that_kafka_deletes_while_the_audit_reads_are_not_missing(kafka_bootstrap: str, unique: str) -> None:
    """To read all images takes minutes on a large plant, and in them a busy line's oldest scores went."""
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    frames, scores = settings.topics.frames.name, settings.topics.scores.name
    publisher = Publisher(settings, "test")
    publisher.publish(outgoing(frames, frame(i)) for i in range(3))
    publisher.publish([Outgoing(scores, b"line-1", score(i).to_json()) for i in range(3)])
    time.sleep(0.01)  # the broker's clock has milliseconds
    publisher.publish([outgoing(frames, frame(3))])
    publisher.publish([Outgoing(scores, b"line-1", score(3).to_json()), heartbeat(settings, captured=4)])
    publisher.close()
    commit_all(settings, frames)

    (account,) = take_stock(settings, on_record=lambda: delete_scores(settings, before=3))
    assert (account.scored, account.missing, account.unanswered) == (1, 0, 3)


def test_nor_are_those_that_it_deletes_once_it_has_read_the_first(kafka_bootstrap: str, unique: str) -> None:
    """Only what was read first was remembered, and the client leaps over what is gone without a word."""
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    frames, scores = settings.topics.frames.name, settings.topics.scores.name
    publisher = Publisher(settings, "test")
    publisher.publish(outgoing(frames, frame(i)) for i in range(3))
    publisher.publish([Outgoing(scores, b"line-1", score(0).to_json())])
    for _ in range(40):  # more than the client has fetched, or is about to, when it hands out the first
        publisher.publish([Outgoing(scores, b"line-1", os.urandom(900_000))])
    publisher.publish([Outgoing(scores, b"line-1", score(i).to_json()) for i in (1, 2)])
    time.sleep(0.01)  # the broker's clock has milliseconds
    publisher.publish([outgoing(frames, frame(3))])
    publisher.publish([Outgoing(scores, b"line-1", score(3).to_json())])
    time.sleep(0.01)
    publisher.publish([outgoing(frames, frame(4))])
    publisher.close()
    commit_all(settings, frames)

    (account,) = take_stock(settings, on_record=once(lambda: delete_scores(settings, before=43)))
    assert (account.scored, account.missing, account.unanswered) == (2, 1, 2)


def once(act: Callable[[], None]) -> Callable[[], None]:
    left = [act]
    return lambda: left.pop()() if left else None


def test_a_hole_in_a_boot_is_in_flight_only_once_that_boot_has_told_of_it(kafka_bootstrap: str, unique: str) -> None:
    """The heartbeats of one that begins amid the audit come once they were read. But those of one that may not write
    any never come: while it was the camera's newest, no frame that it lost was ever missing."""
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    frames, scores = settings.topics.frames.name, settings.topics.scores.name
    with closing(Publisher(settings, "test")) as publisher:
        publisher.publish([heartbeat(settings, captured=0, boot="before")])
        publisher.publish([outgoing(frames, frame(2)), Outgoing(scores, b"line-1", score(2).to_json())])
        (account,) = take_stock(settings)
        assert (account.captured, account.scored, account.missing, account.in_flight) == (3, 1, 2, 0)

        told = once(lambda: publisher.publish([heartbeat(settings, captured=9)]))
        (account,) = take_stock(settings, on_record=told)
        assert (account.captured, account.scored, account.missing, account.in_flight) == (3, 1, 0, 2)


@pytest.mark.parametrize(
    ("kept_ms", "missing", "unanswered"),
    [(None, 1, 0), (60_000, 0, 1), (-1, 0, 1)],
    ids=["as usual", "by a minute, and clocks may differ by two", "for ever, so by hand"],
)
def test_dead_letters_that_all_expired_hide_no_loss_that_came_after_them(
    kept_ms: int | None, missing: int, unanswered: int, kafka_bootstrap: str, unique: str
) -> None:
    """From 14 days after the last dead letter of a partition on, no lost frame of its cameras was ever missing."""
    settings = settings_for(kafka_bootstrap, unique, frame_partitions=1)
    ensure_topics(settings, settings.topics)
    frames, dead = settings.topics.frames.name, settings.topics.frames_dead.name
    if kept_ms is not None:
        limit(settings, dead, retention_ms=kept_ms)
    publisher = Publisher(settings, "test")
    publisher.publish([Outgoing(dead, b"cam-1", b"x")])
    delete_records(settings, dead, 0, before=1)
    publisher.publish(outgoing(frames, frame(i)) for i in range(2))
    publisher.publish([Outgoing(settings.topics.scores.name, b"line-1", score(0).to_json())])
    commit_all(settings, frames)
    time.sleep(0.01)  # the broker's clock has milliseconds
    for _ in range(2):
        for since in (None, datetime.now(UTC) - timedelta(minutes=1)):
            (account,) = take_stock(settings, since=since)
            assert (account.scored, account.missing, account.unanswered) == (1, missing, unanswered)
        publisher.publish([Outgoing(dead, b"cam-1", b"x")])  # the first in weeks
    publisher.close()


def test_a_loss_that_is_known_is_left_out_by_a_moment_after_it(kafka_bootstrap: str, unique: str) -> None:
    """Frames that Kafka deleted unread stay missing for days, and would hide whatever is lost next."""
    settings = settings_for(kafka_bootstrap, unique, frame_partitions=1)
    ensure_topics(settings, settings.topics)
    frames, scores = settings.topics.frames.name, settings.topics.scores.name
    publisher = Publisher(settings, "test")

    def scored(*sequences: int) -> list[Outgoing]:
        return [Outgoing(scores, b"line-1", score(sequence).to_json()) for sequence in sequences]

    publisher.publish([*(outgoing(frames, frame(i)) for i in range(10)), *scored(0)])
    delete_records(settings, frames, 0, before=10)
    time.sleep(0.01)  # the broker's clock has milliseconds
    moment = datetime.now(UTC)
    publisher.publish([*(outgoing(frames, frame(i)) for i in range(10, 16)), *scored(*range(10, 16))])
    publisher.publish([heartbeat(settings, captured=16)])
    publisher.close()

    (account,) = take_stock(settings)
    assert (account.missing, account.balanced) == (9, False)
    assert captured(settings, moment) == 6
