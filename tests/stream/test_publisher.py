"""Publishing survives what kills kafka-python's producer."""

import dataclasses
import functools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.errors import KafkaTimeoutError
from kafka.future import Future as KafkaFuture
from kafka.record.default_records import DefaultRecordBatchBuilder
from support.stream import lose_the_end, make_anew, settings_for, wait_until

from pipeline.kafka import publisher as publisher_module
from pipeline.kafka.admin import MissingTopicsError, TopicError, check_topics, delete_topics, ensure_topics
from pipeline.kafka.connection import KafkaUnavailableError
from pipeline.kafka.publisher import Publisher, PublishError
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.records import Outgoing
from pipeline.kafka.waiting import await_topics
from pipeline.topics import MAX_FRAME_BYTES
from workers.local.kafka_broker import KafkaBroker

pytestmark = pytest.mark.services


def test_a_record_that_the_broker_refuses_does_not_end_publishing(kafka_bootstrap: str, unique: str) -> None:
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    scores = settings.topics.scores.name
    publisher, large = Publisher(settings, "test"), Outgoing(scores, b"k", b"x" * (2 * 1024 * 1024))
    publisher.publish([Outgoing(scores, b"k", b"before")])
    with pytest.raises(PublishError) as refused:
        publisher.publish([large])
    assert not refused.value.retriable
    assert not refused.value.may_come
    with pytest.raises(PublishError) as refused:
        publisher.publish([Outgoing(settings.topics.operations.name, b"k", b"taken"), large])
    assert refused.value.may_come
    publisher.publish([Outgoing(scores, b"k", b"after")])
    publisher.close()
    assert [record.value for record in read_to_end(settings, [scores])] == [b"before", b"after"]


def test_the_largest_frame_goes_through(kafka_bootstrap: str, unique: str) -> None:
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    frames = settings.topics.frames.name
    publisher = Publisher(settings, "test")
    publisher.publish([Outgoing(frames, b"k", b"x" * MAX_FRAME_BYTES, [("h", b"y" * 1000)])])
    publisher.close()
    (record,) = read_to_end(settings, [frames])
    assert len(record.value or b"") == MAX_FRAME_BYTES


def test_what_a_closed_publisher_held_for_a_hanging_broker_never_overtakes_its_successor(
    own_kafka: KafkaBroker, unique: str
) -> None:
    settings = settings_for(own_kafka.bootstrap, unique, frame_partitions=1)
    ensure_topics(settings, settings.topics)
    topic = settings.topics.frames.name
    others = set(threading.enumerate())
    publisher = Publisher(settings, "test")
    publisher.publish([Outgoing(topic, b"k", b"first")])
    own = set(threading.enumerate()) - others
    assert own
    outcomes: list[BaseException | None] = []
    own_kafka.pause()
    # More than the sockets take, so that most of it is still with the producer when it is closed.
    held = 40
    for _ in range(held):
        publisher.hand_over(Outgoing(topic, b"k", bytes(2**20), []), outcomes.append)
    began = time.monotonic()
    publisher.close(flush_timeout_s=1)
    assert time.monotonic() - began < 15
    own_kafka.resume()
    successor = Publisher(settings, "test")
    successor.publish([Outgoing(topic, b"k", b"successor")])
    wait_until(lambda: not own & set(threading.enumerate()))
    successor.close()
    values = [record.value for record in read_to_end(settings, [topic])]
    assert values[0] == b"first"
    assert values[-1] == b"successor"
    assert len(values) < 1 + held, "the sockets took it all, so nothing was shown"


def test_what_was_given_up_never_comes_after_a_newer_record(
    own_kafka: KafkaBroker, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker came back just then: the last heartbeat of a camera that had ended told that it runs, for good. Here
    the ending of the client before is held up until it has come back."""
    settings = settings_for(own_kafka.bootstrap, unique)
    ensure_topics(settings, settings.topics)
    topic, back, end = settings.topics.heartbeats.name, threading.Event(), publisher_module._end

    def end_late(producer: Any) -> None:
        back.wait(30)
        end(producer)

    monkeypatch.setattr(publisher_module, "_end", end_late)
    publisher = Publisher(settings, "test")
    publisher.publish([Outgoing(topic, b"k", b"0")])
    own_kafka.kill()
    with pytest.raises(PublishError, match="no acknowledgement"):
        publisher.publish([Outgoing(topic, b"k", b"1")], timeout_s=1)
    own_kafka.start()
    threading.Timer(1, back.set).start()

    def taken(number: int) -> bool:
        """Not while the client before has not ended, which a busy machine puts off."""
        try:
            publisher.publish([Outgoing(topic, b"k", str(number).encode())])
        except PublishError:
            return False
        return True

    for number in range(2, 20):
        wait_until(lambda number=number: taken(number))
    publisher.close()
    numbers = [int(record.value or b"") for record in read_to_end(settings, [topic])]
    assert numbers == sorted(numbers)
    assert set(range(2, 20)) <= set(numbers)


def test_what_was_given_up_does_not_come_from_the_systems_buffers(own_kafka: KafkaBroker, unique: str) -> None:
    """Where the network was away for 16 s, a heartbeat that was given up came 12 s after the newest. What another
    thread had sent through the same client may come, too: it was told as not taken, and ended a worker.
    """
    settings = settings_for(own_kafka.bootstrap, unique, frame_partitions=1)
    ensure_topics(settings, settings.topics)
    topic, scores, sent = settings.topics.frames.name, settings.topics.scores.name, threading.Event()

    def beside() -> Iterator[Outgoing]:
        yield Outgoing(scores, b"k", b"beside")
        sent.set()

    with ThreadPoolExecutor(1) as pool, closing(Publisher(settings, "test")) as publisher:
        publisher.publish([Outgoing(topic, b"k", b"first"), Outgoing(scores, b"k", b"first")])
        own_kafka.pause()
        other = pool.submit(publisher.publish, beside(), timeout_s=120)
        assert sent.wait(60)
        with pytest.raises(PublishError, match="no acknowledgement") as fault:
            publisher.publish([Outgoing(topic, b"k", bytes(2**19))], timeout_s=1)  # more than the broker's buffer takes
        assert fault.value.may_come  # as all would that was smaller
        with pytest.raises(PublishError, match="no acknowledgement") as fault:
            other.result(120)
        assert fault.value.may_come
        assert fault.value.retriable
    own_kafka.resume()
    with closing(Publisher(settings, "test")) as successor:
        successor.publish([Outgoing(topic, b"k", b"successor")])
    assert [record.value for record in read_to_end(settings, [topic])] == [b"first", b"successor"]


def test_a_broker_that_lost_the_end_of_its_log_takes_the_records_later(own_kafka: KafkaBroker, unique: str) -> None:
    """It misses those before them. Taken for a refusal of the records, that ended every replica at once."""
    settings = settings_for(own_kafka.bootstrap, unique, line_partitions=1)
    ensure_topics(settings, settings.topics)
    scores = settings.topics.scores.name
    publisher = Publisher(settings, "test")
    for number in range(20):
        publisher.publish([Outgoing(scores, b"k", f"before {number}".encode())])
    lose_the_end(own_kafka, scores)
    with pytest.raises(PublishError) as refused:
        publisher.publish([Outgoing(scores, b"k", b"after")])
    assert refused.value.retriable
    publisher.publish([Outgoing(scores, b"k", b"after")])
    publisher.close()
    assert [record.value for record in read_to_end(settings, [scores])][-1] == b"after"


def test_a_broker_that_is_away_is_named() -> None:
    settings = settings_for("127.0.0.1:1", "x")
    with pytest.raises(KafkaUnavailableError, match=r"127\.0\.0\.1:1.*KAFKA_BOOTSTRAP"):
        check_topics(settings, settings.topics)


def test_topics_that_the_broker_refuses_are_told_in_its_own_words(kafka_bootstrap: str, unique: str) -> None:
    """The client's error was request and answer in full, 10 kB of it."""
    settings = settings_for(kafka_bootstrap, unique)
    with pytest.raises(TopicError, match=rf"creates no topic '{unique}frames'.*audit-log'.*: .*1000 time") as refused:
        ensure_topics(settings, settings.topics, replication=1000)
    assert len(str(refused.value)) < 1500


def test_each_wrong_topic_is_named_with_its_mend(kafka_bootstrap: str, unique: str) -> None:
    settings = settings_for(kafka_bootstrap, unique)
    with pytest.raises(TopicError, match=r"frames.*does not exist.*andon topics create"):
        check_topics(settings, settings.topics)
    small = dataclasses.replace(settings.topics.frames, max_message_bytes=1_000_000, partitions=1)
    client = KafkaAdminClient(bootstrap_servers=kafka_bootstrap.split(","))
    configs = {**small.config, "message.timestamp.type": "CreateTime"}
    client.create_topics({small.name: {"num_partitions": 1, "replication_factor": -1, "configs": configs}})
    client.close()
    with pytest.raises(TopicError) as wrong:
        check_topics(settings, [settings.topics.frames])
    for hint in (
        "has 1 partitions",
        "max.message.bytes to",
        "message.timestamp.type=CreateTime; set it to LogAppendTime",
    ):
        assert hint in str(wrong.value)


def test_a_topic_that_is_deleted_as_it_is_looked_at_is_missing_and_no_right_is(
    kafka_bootstrap: str, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is missing a right ends, and who is missing a topic waits for it."""
    settings = settings_for(kafka_bootstrap, unique)
    topic, describe = settings.topics.scores, KafkaAdminClient.describe_configs
    ensure_topics(settings, [topic])

    def deleted_first(admin: KafkaAdminClient, *asked: Any, **more: Any) -> Any:
        delete_topics(settings, topic.name)
        wait_until(lambda: admin.describe_topics([topic.name])[0]["error_code"] != 0)
        return describe(admin, *asked, **more)

    monkeypatch.setattr(KafkaAdminClient, "describe_configs", deleted_first)
    with pytest.raises(MissingTopicsError, match="scores' does not exist"):
        check_topics(settings, [topic])


def test_heartbeats_in_several_partitions_are_no_fault_of_the_lines(kafka_bootstrap: str, unique: str) -> None:
    """Who followed the advice gave all topics by line another number, which moves every line's state."""
    settings = settings_for(kafka_bootstrap, unique)
    beats = settings.topics.heartbeats
    ensure_topics(settings, [dataclasses.replace(beats, partitions=3)])
    with pytest.raises(TopicError, match="no setting changes that: recreate the topic") as told:
        check_topics(settings, [beats])
    assert "ANDON_LINE_PARTITIONS" not in str(told.value)


def test_who_starts_before_the_topics_are_there_waits_for_them(kafka_bootstrap: str, unique: str) -> None:
    """At a first start they come after the broker, and Serve never tries again after three times."""
    settings = settings_for(kafka_bootstrap, unique)
    made = threading.Timer(3, ensure_topics, (settings, settings.topics))
    made.start()
    assert await_topics(settings, settings.topics, threading.Event())
    made.join()


def test_topics_that_waiting_does_not_mend_are_not_waited_for(kafka_bootstrap: str, unique: str) -> None:
    settings = settings_for(kafka_bootstrap, unique)
    frames = settings.topics.frames
    ensure_topics(settings, [dataclasses.replace(frames, partitions=1)])
    with pytest.raises(TopicError, match=r"scores' does not exist.*frames' has 1 partition"):
        await_topics(settings, [dataclasses.replace(frames, partitions=3), settings.topics.scores], threading.Event())


@pytest.mark.parametrize("ahead_s", [2 * 3600, -365 * 24 * 3600], ids=["two hours ahead", "a year behind"])
def test_a_sender_with_a_wrong_clock_is_heard_on_every_topic(
    kafka_bootstrap: str, unique: str, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    """Kafka 4 refuses what a clock dates over an hour ahead: a camera stayed silent, and every replica ended."""
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    by_its_clock = functools.partialmethod(DefaultRecordBatchBuilder.append, time_time=lambda: time.time() + ahead_s)
    monkeypatch.setattr(DefaultRecordBatchBuilder, "append", by_its_clock)
    publisher = Publisher(settings, "test")
    publisher.publish([Outgoing(topic.name, b"k", b"v") for topic in settings.topics])
    publisher.close()
    for record in read_to_end(settings, [topic.name for topic in settings.topics]):
        assert abs(record.timestamp_ms / 1000 - time.time()) < 60, record.place


def test_topics_of_an_earlier_andon_keep_no_process_from_its_start(kafka_bootstrap: str, unique: str) -> None:
    """They carried their senders' time. Else all processes would have to be changed at the moment when they are."""
    settings = settings_for(kafka_bootstrap, unique)
    scores = settings.topics.scores
    client = KafkaAdminClient(bootstrap_servers=kafka_bootstrap.split(","))
    configs = {**scores.config, "message.timestamp.type": "CreateTime"}
    client.create_topics({scores.name: {"num_partitions": 2, "replication_factor": -1, "configs": configs}})
    client.close()
    check_topics(settings, [scores])
    with pytest.raises(TopicError, match=r"scores' has message\.timestamp\.type=CreateTime; set it to LogAppendTime"):
        check_topics(settings, [scores], with_clocks=True)


def test_partitions_may_be_added_to_frames_before_any_process_is_told(kafka_bootstrap: str, unique: str) -> None:
    """A camera that lost its connection in between could not come back, and its spool ran full."""
    before = settings_for(kafka_bootstrap, unique, frame_partitions=2)
    after = settings_for(kafka_bootstrap, unique, frame_partitions=4)
    ensure_topics(after, after.topics)
    check_topics(before, before.topics)
    with pytest.raises(TopicError, match=r"scores.* has 2 partitions.*ANDON_LINE_PARTITIONS"):
        check_topics(before, settings_for(kafka_bootstrap, unique, line_partitions=1).topics)


def test_ensuring_twice_changes_nothing(kafka_bootstrap: str, unique: str) -> None:
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    ensure_topics(settings, settings.topics)
    check_topics(settings, settings.topics)


def test_what_is_handed_over_lies_where_the_client_would_put_it(kafka_bootstrap: str, unique: str) -> None:
    """One camera's frames stay in one partition, whoever sends them and however."""
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    frames = settings.topics.frames.name
    keys = [f"camera-{number}".encode() for number in range(12)]
    publisher = Publisher(settings, "test")
    publisher.publish([Outgoing(frames, key, b"by the client") for key in keys])
    receipts = [publisher.hand_over(Outgoing(frames, key, b"by us", []), pytest.fail) for key in keys]
    publisher.close()
    assert all(receipt.is_done and receipt.exception is None for receipt in receipts)
    found = [(record.key, record.partition) for record in read_to_end(settings, [frames])]
    assert sorted(found) == sorted([*set(found), *set(found)])
    assert {key for key, _ in found} == set(keys)
    assert len(set(found)) == len(keys)
    assert len({partition for _, partition in found}) > 1


def test_a_receipt_tells_of_a_refusal(kafka_bootstrap: str, unique: str) -> None:
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    told: list[BaseException] = []
    publisher = Publisher(settings, "test")
    large = Outgoing(settings.topics.scores.name, b"k", b"x" * (2 * 1024 * 1024), [])
    receipt = publisher.hand_over(large, told.append)
    wait_until(lambda: receipt.is_done)
    publisher.close()
    assert receipt.exception is not None
    assert told == [receipt.exception]


def test_a_producer_whose_records_expired_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake client: the real one stands still after an outage only sometimes, in the middle of a retry."""
    built: list[Any] = []

    class Answer(KafkaFuture):  # type: ignore[misc]
        def get(self, timeout: float) -> None:
            if self.exception:
                raise self.exception

    class Stuck:
        def __init__(self, **_: Any) -> None:
            built.append(self)
            self.closed = threading.Event()

        def send(self, *_: Any, **__: Any) -> Any:
            answer = Answer()
            return answer.success(None) if len(built) > 1 else answer.failure(KafkaTimeoutError("expired"))

        def flush(self, timeout: float) -> None:
            pass

        def close(self, timeout: float) -> None:
            self.closed.set()

    monkeypatch.setattr("pipeline.kafka.publisher.open_producer", Stuck)
    publisher = Publisher(settings_for("127.0.0.1:1", "test"), "test")
    with pytest.raises(PublishError) as expired:
        publisher.publish([Outgoing("scores", b"k", b"v")])
    assert expired.value.retriable
    assert expired.value.may_come
    publisher.publish([Outgoing("scores", b"k", b"v")])
    assert len(built) == 2
    assert built[0].closed.wait(10)
    publisher.close()


def test_a_topic_that_was_made_anew_with_fewer_partitions_ends_no_publishing(kafka_bootstrap: str, unique: str) -> None:
    """A camera worker ended by a ValueError, and what it held in memory was gone."""
    settings, fewer = (settings_for(kafka_bootstrap, unique, frame_partitions=count) for count in (4, 1))
    topic = settings.topics.frames
    ensure_topics(settings, [topic])
    publisher = Publisher(settings, "test")
    keys = [b"k%d" % number for number in range(20)]  # of all four partitions
    refused: list[PublishError] = []

    def arrived() -> bool:
        try:
            for key in keys:
                publisher.hand_over(Outgoing(topic.name, key, b"x", []), lambda error: None)
        except PublishError as error:
            refused.append(error)
        return bool(refused) and {record.key for record in read_to_end(settings, [topic.name])} == set(keys)

    publisher.publish(Outgoing(topic.name, key, b"x") for key in keys)
    make_anew(fewer, fewer.topics.frames)
    wait_until(arrived)
    assert all(error.retriable for error in refused)
    publisher.close()
