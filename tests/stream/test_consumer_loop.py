"""poll → work → deliver → commit, against a real broker: nothing lost, whatever waits, moves or fails."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.admin import MemberToRemove
from kafka.errors import (
    CommitFailedError,
    KafkaError,
    KafkaTimeoutError,
    RebalanceInProgressError,
    TopicAuthorizationFailedError,
)
from support.stream import Collect, running, wait_until

from pipeline.kafka import consumer, lag
from pipeline.kafka.connection import KafkaUnavailableError
from pipeline.kafka.consumer_groups import committed_offsets
from pipeline.kafka.lease import Lease
from pipeline.kafka.mends import bounds
from pipeline.kafka.opening import open_consumer
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Incoming, Outgoing
from pipeline.kafka.step import Backpressure, ConsumerOptions
from pipeline.settings import Settings

pytestmark = pytest.mark.services


@pytest.fixture
def publisher(settings: Settings) -> Iterator[Publisher]:
    publisher = Publisher(settings, "test")
    yield publisher
    publisher.close()


@pytest.fixture(params=[False, True], ids=["in turn", "overlap"])
def options(request: pytest.FixtureRequest, settings: Settings) -> ConsumerOptions:
    """Batches so small that, with overlap, one is worked on while another waits."""
    topics = (settings.topics.frames.name,)
    return ConsumerOptions(settings.group("test"), topics, max_batch=7, overlap=request.param)


def no_answer_now() -> KafkaUnavailableError:
    error = KafkaUnavailableError("no Kafka broker answers")
    error.__cause__ = KafkaTimeoutError("Unable to bootstrap")
    return error


def send(publisher: Publisher, settings: Settings, first: int, last: int) -> list[bytes]:
    values = [str(i).encode() for i in range(first, last)]
    publisher.publish(Outgoing(settings.topics.frames.name, value, value) for value in values)
    return values


def committed(settings: Settings) -> int:
    return sum(committed_offsets(settings, settings.group("test")).values())


def test_what_is_delivered_is_committed(settings: Settings, publisher: Publisher, options: ConsumerOptions) -> None:
    values = send(publisher, settings, 0, 50)
    step = Collect()
    with running(settings, options, step) as loop:
        wait_until(lambda: loop.state.records == 50)
    assert sorted(step.seen) == sorted(values)
    assert committed(settings) == 50


def test_batches_that_follow_fast_share_a_commit(
    settings: Settings, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[object] = []
    really = KafkaConsumer.commit

    def spied(self: KafkaConsumer, offsets: dict[Any, Any], **options: Any) -> None:
        commits.append(offsets)
        really(self, offsets, **options)

    monkeypatch.setattr(KafkaConsumer, "commit", spied)
    monkeypatch.setattr(consumer, "_COMMIT_EVERY_S", 600)
    send(publisher, settings, 0, 60)
    step = Batches()
    options = ConsumerOptions(settings.group("test"), (settings.topics.frames.name,), max_batch=2, overlap=True)
    with running(settings, options, step) as loop:
        wait_until(lambda: loop.state.records == 60)
    assert len(commits) < len(step.sizes) / 2
    assert committed(settings) == 60


def test_what_was_delivered_before_an_error_is_committed(
    settings: Settings, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a replica that buries a bad batch and ends at the next buries it again at each start."""

    class FailsAtTheThird(Batches):
        def work(self, batch: Sequence[Incoming]) -> list[bytes]:
            if len(self.sizes) == 2:
                raise RuntimeError("the third")
            return super().work(batch)

    monkeypatch.setattr(consumer, "_COMMIT_EVERY_S", 600)
    send(publisher, settings, 0, 20)
    step = FailsAtTheThird()
    options = ConsumerOptions(settings.group("test"), (settings.topics.frames.name,), max_batch=2, overlap=True)
    with pytest.raises(RuntimeError, match="the third"):
        consumer.ConsumerLoop(settings, options, step, threading.Event()).run()
    assert committed(settings) == len(step.seen) > 0


def test_a_batch_whose_commit_is_refused_is_not_counted(
    settings: Settings, publisher: Publisher, options: ConsumerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next owner works it off and counts it. Both looked like frames to whoever reckons replicas."""
    send(publisher, settings, 0, 20)

    def refuse(*_: Any, **__: Any) -> None:
        raise CommitFailedError("the group has moved on")

    monkeypatch.setattr(KafkaConsumer, "commit", refuse)
    step = Collect()
    with running(settings, options, step) as loop:
        wait_until(lambda: len(step.seen) == 20)
    assert loop.state.records == 0


@pytest.mark.parametrize("error", [RebalanceInProgressError, KafkaTimeoutError])
def test_what_a_commit_left_behind_is_committed_although_no_record_comes_any_more(
    settings: Settings, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, error: type[KafkaError]
) -> None:
    """Its partition stayed, so nobody read it again: it waited in Kafka, by all that was told, until the next shift."""
    send(publisher, settings, 0, 1)
    commit, refused = KafkaConsumer.commit, threading.Event()

    def refuse_once(*asked: Any, **more: Any) -> None:
        if not refused.is_set():
            refused.set()
            raise error("not now")
        commit(*asked, **more)

    monkeypatch.setattr(KafkaConsumer, "commit", refuse_once)
    monkeypatch.setattr(consumer, "_COMMIT_AGAIN_S", 0.1)
    options = ConsumerOptions(settings.group("test"), (settings.topics.frames.name,), overlap=True)
    with running(settings, options, Collect()) as loop:
        wait_until(lambda: committed(settings) == 1)
        wait_until(lambda: loop.state.records == 1)


def test_what_a_commit_left_behind_takes_back_nothing_of_who_went_on_meanwhile(
    settings: Settings, publisher: Publisher, options: ConsumerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a replica that was frozen, say, and had its partitions again when it woke: those frames counted as waiting,
    where no further came, and were scored again at the next start."""
    monkeypatch.setattr(consumer, "_COMMIT_EVERY_S", 0)
    monkeypatch.setattr(consumer, "_COMMIT_AGAIN_S", 600)  # but for a rebalance that is over
    topic, commit = settings.topics.frames, KafkaConsumer.commit
    theirs: dict[TopicPartition, OffsetAndMetadata] = {}
    back: list[TopicPartition] = []
    send(publisher, settings, 0, 20)

    def refuse_once(ours: KafkaConsumer, ends: Any, **more: Any) -> None:
        if theirs:
            back.extend(at for at, end in ends.items() if end.offset < theirs[at].offset)
            commit(ours, ends, **more)
            return
        ours.pause(*ours.assignment())
        bootstrap, group = settings.kafka_bootstrap, options.group
        with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
            (found,) = admin.describe_groups([group]).values()
            admin.remove_group_members(group, [MemberToRemove(m["member_id"]) for m in found["members"]])
        with closing(KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)) as other:
            places = [TopicPartition(topic.name, partition) for partition in range(topic.partitions)]
            other.assign(places)
            theirs.update((at, OffsetAndMetadata(end, "", -1)) for at, end in other.end_offsets(places).items())
            commit(other, theirs)
        raise CommitFailedError("the group has moved on")

    monkeypatch.setattr(KafkaConsumer, "commit", refuse_once)
    step = Collect()
    with running(settings, replace(options, max_batch=1), step):
        wait_until(lambda: len(step.assignments) == 2)
        send(publisher, settings, 20, 21)
        wait_until(lambda: committed(settings) == 21)
    assert not back
    assert len(step.seen) < 20


def test_a_broker_that_goes_away_before_the_first_connection_is_waited_for(
    settings: Settings, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alerting ended with a trace, where its link broke between two of the steps of its start."""
    tries: list[object] = []

    def open_at_the_second_try(**arguments: object) -> KafkaConsumer:
        tries.append(arguments)
        if len(tries) == 1:
            raise KafkaTimeoutError("Unable to bootstrap")
        return open_consumer(**arguments)

    monkeypatch.setattr("pipeline.kafka.consumer.open_consumer", open_at_the_second_try)
    monkeypatch.setattr("pipeline.kafka.consumer._OPEN_AGAIN_S", 0.1)
    send(publisher, settings, 0, 5)
    with running(settings, ConsumerOptions(settings.group("test"), (settings.topics.frames.name,)), Collect()) as loop:
        wait_until(lambda: loop.state.records == 5)
    assert len(tries) == 2


class Batches(Collect):
    """Remembers how large they were."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def work(self, batch: Sequence[Incoming]) -> list[bytes]:
        self.sizes.append(len(batch))
        return super().work(batch)


class Slow(Collect):
    """Takes as long for every record as for the largest frames."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def work(self, batch: Sequence[Incoming]) -> list[bytes]:
        self.batches.append(len(batch))
        time.sleep(0.2 * len(batch))
        return super().work(batch)


def test_the_lag_counts_what_comes_while_the_client_still_has_records_in_store(
    settings: Settings, publisher: Publisher, options: ConsumerOptions
) -> None:
    """It had been as old as the last fetch: with small frames minutes, in which no replica was added."""
    send(publisher, settings, 0, 300)
    with running(settings, replace(options, max_batch=1), Slow()) as loop:
        wait_until(lambda: loop.state.records > 0)
        send(publisher, settings, 300, 800)
        wait_until(lambda: sum(loop.state.lag.values()) > 300 or loop.state.records >= 300)
        assert loop.state.records < 300, "what the client had in store is done"


def test_no_batch_takes_longer_than_it_may(settings: Settings, publisher: Publisher, options: ConsumerOptions) -> None:
    values = send(publisher, settings, 0, 20)
    step = Slow()
    with running(settings, replace(options, batch_within_s=0.65), step) as loop:
        wait_until(lambda: loop.state.records == 20)
    assert sorted(step.seen) == sorted(values)
    assert step.batches[0] == 1
    assert max(step.batches) <= 3


def test_records_that_are_far_heavier_than_those_before_them_are_not_worked_on_at_once(
    settings: Settings, publisher: Publisher, options: ConsumerOptions
) -> None:
    """After a backlog of small pictures as many huge ones were: a minute of work, and a well replica was ended for it,
    and the next one that met them."""

    class Weighed(Collect):
        def __init__(self) -> None:
            super().__init__()
            self.batches: list[list[int]] = []

        def work(self, batch: Sequence[Incoming]) -> list[bytes]:
            self.batches.append([int(record.value or 0) for record in batch])
            time.sleep(0.01)
            return super().work(batch)

    values = [*(b"1" for _ in range(40)), *(b"%d" % (10**9 + i) for i in range(6))]
    topic = settings.topics.frames.name
    publisher.publish(Outgoing(topic, b"one partition", value) for value in values)
    step = Weighed()
    weighed = replace(options, weigh=lambda record: int(record.value or 0), batch_within_s=10)
    with running(settings, weighed, step) as loop:
        wait_until(lambda: loop.state.records == len(values))
    assert step.seen == values
    assert max(len(batch) for batch in step.batches) == options.max_batch
    assert next(batch for batch in step.batches if max(batch) > 1) == [10**9]


def test_a_batch_has_another_size_once_it_was_changed(
    settings: Settings, publisher: Publisher, options: ConsumerOptions
) -> None:
    step = Slow()
    with running(settings, options, step) as loop:
        send(publisher, settings, 0, 10)
        wait_until(lambda: loop.state.records == 10)
        assert max(step.batches) > 2
        loop.resize(2)
        step.batches.clear()
        send(publisher, settings, 10, 20)
        wait_until(lambda: loop.state.records == 20)
    assert max(step.batches[1:]) <= 2  # the first poll may have begun before


def test_added_partitions_are_read_long_before_senders_find_them(settings: Settings) -> None:
    """Cameras look every five minutes. Frames in a partition that nobody reads yet leave their line unwatched."""
    frames = settings.topics.frames
    in_turn = ConsumerOptions(settings.group("in-turn"), (frames.name,))
    overlap = ConsumerOptions(settings.group("overlap"), (frames.name,), overlap=True)
    one, other = Collect(), Collect()
    with running(settings, in_turn, one), running(settings, overlap, other):  # at once: each looks every ten seconds
        wait_until(lambda: bool(one.assignments and other.assignments))
        client = KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap.split(","))
        client.create_partitions({frames.name: frames.partitions + 1})
        client.close()
        for step in (one, other):
            wait_until(lambda step=step: (frames.name, frames.partitions) in step.assignments[-1])


def test_a_delivery_that_waits_is_neither_lost_nor_committed(
    settings: Settings, publisher: Publisher, options: ConsumerOptions
) -> None:
    values = send(publisher, settings, 0, 20)
    step = Collect()
    step.away.set()
    with running(settings, options, step) as loop:
        wait_until(lambda: step.attempts >= 3)
        assert loop.state.waiting_for == "the test is away"
        assert committed(settings) == 0
        step.away.clear()
        wait_until(lambda: loop.state.records == 20)
        assert loop.state.waiting_for is None
    assert sorted(step.seen) == sorted(values)


class Answered(Collect):
    """Its deliveries end when they are answered, as by a Redis whose replies come byte by byte."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = threading.Event()

    def deliver(self, result: list[bytes]) -> None:
        self.attempts += 1
        assert self.answer.wait(60)
        self.seen += result


def test_a_delivery_that_is_answered_slowly_does_not_pass_for_a_loop_that_hangs(
    settings: Settings, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Serve ended such a replica each minute, and nothing told what it had waited for."""
    monkeypatch.setattr(consumer, "_SLOW_S", 0.2)
    values = send(publisher, settings, 0, 20)
    step = Answered()
    options = ConsumerOptions(settings.group("test"), (settings.topics.frames.name,), max_batch=7, overlap=True)
    with running(settings, options, step) as loop:
        wait_until(lambda: loop.state.waiting_for is not None)
        assert "under way for" in str(loop.state.waiting_for)
        turned_s = loop.state.last_turn_monotonic_s
        wait_until(lambda: loop.state.last_turn_monotonic_s > turned_s)
        assert committed(settings) == 0
        step.answer.set()
        wait_until(lambda: loop.state.records == 20)
        assert loop.state.waiting_for is None
    assert sorted(step.seen) == sorted(values), "each once"
    assert committed(settings) == 20


def test_stopping_waits_for_a_delivery_that_is_under_way(
    settings: Settings, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "_SLOW_S", 0.2)
    send(publisher, settings, 0, 1)
    step = Answered()
    options = ConsumerOptions(settings.group("test"), (settings.topics.frames.name,), overlap=True)
    with running(settings, options, step) as loop:
        wait_until(lambda: loop.state.waiting_for is not None)
        threading.Timer(1, step.answer.set).start()
    assert step.attempts == 1
    assert committed(settings) == 1


def test_stopping_while_a_delivery_waits_leaves_the_batch_to_the_next(
    settings: Settings, publisher: Publisher, options: ConsumerOptions
) -> None:
    values = send(publisher, settings, 0, 10)
    step = Collect()
    step.away.set()
    with running(settings, options, step):
        wait_until(lambda: step.attempts >= 1)
    assert step.seen == []
    successor = Collect()
    with running(settings, options, successor):
        wait_until(lambda: len(successor.seen) == 10)
    assert sorted(successor.seen) == sorted(values)


def test_partitions_that_move_while_a_delivery_waits_are_read_again_by_their_owner(
    settings: Settings, publisher: Publisher, options: ConsumerOptions
) -> None:
    values = send(publisher, settings, 0, 20)
    stuck, helper = Collect(), Collect()
    stuck.away.set()
    with running(settings, options, stuck):
        wait_until(lambda: stuck.attempts >= 1)
        with running(settings, options, helper):
            wait_until(lambda: len(stuck.assignments) >= 2 and len(helper.assignments) >= 1)
            stuck.away.clear()
            wait_until(lambda: set(stuck.seen) | set(helper.seen) == set(values))
    assert committed(settings) == 20


@pytest.fixture
def lease() -> Lease:
    return Lease(session_timeout_s=6)


@pytest.fixture
def leased(settings: Settings, lease: Lease) -> ConsumerOptions:
    topics = (settings.topics.frames.name,)
    return ConsumerOptions(settings.group("test"), topics, session_timeout_s=6, ticks=True, lease=lease)


def test_a_delivery_that_waits_for_the_lease_gets_it(
    settings: Settings, publisher: Publisher, leased: ConsumerOptions, lease: Lease
) -> None:
    """As after a broker that was away: records come before the lease, which lapsed meanwhile, is renewed."""

    class Careful(Collect):
        committed_before: int | None = None

        def work(self, batch: Sequence[Incoming]) -> list[bytes]:
            if batch and not self.attempts:
                lease.drop()
            return super().work(batch)

        def deliver(self, result: list[bytes]) -> None:
            if result and not lease.held:
                self.attempts += 1
                raise Backpressure("no lease")
            if result and self.committed_before is None:
                self.committed_before = committed(settings)
            self.seen += result

    values = send(publisher, settings, 0, 5)
    step = Careful()
    with running(settings, leased, step):
        wait_until(lambda: len(step.seen) == 5)
    assert step.attempts >= 1
    assert step.committed_before == 0, "what keeps the lease commits nothing that waits"
    assert sorted(step.seen) == sorted(values)
    assert committed(settings) == 5


def test_keeping_the_lease_commits_nothing_that_stopping_leaves_undelivered(
    settings: Settings, publisher: Publisher, leased: ConsumerOptions, lease: Lease
) -> None:
    values = send(publisher, settings, 0, 10)
    step = Collect()
    step.away.set()
    with running(settings, leased, step):
        wait_until(lambda: step.attempts >= 1)
        lease.drop()
    assert committed(settings) == 0
    successor = Collect()
    with running(settings, leased, successor):
        wait_until(lambda: len(successor.seen) == 10)
    assert sorted(successor.seen) == sorted(values)


@pytest.mark.parametrize("error", [no_answer_now(), Backpressure("it is away")], ids=["a takeover reads", "it writes"])
def test_a_broker_that_goes_away_while_the_step_gets_ready_is_waited_for(
    error: Exception, settings: Settings, publisher: Publisher
) -> None:
    """It ended an alerting worker that was taking lines over: Kafka was killed 8 s before."""
    values = send(publisher, settings, 0, 10)

    class Unready(Collect):
        def assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
            super().assigned(partitions)
            if len(self.assignments) < 3:
                raise error

        def work(self, batch: Sequence[Incoming]) -> list[bytes]:
            assert len(self.assignments) == 3, "not before it is ready"
            return super().work(batch)

    step = Unready()
    with running(settings, ConsumerOptions(settings.group("test"), (settings.topics.frames.name,)), step) as loop:
        wait_until(lambda: loop.state.records == 10)
    assert sorted(step.seen) == sorted(values)


def test_a_member_that_its_group_forgot_while_it_got_ready_joins_again(
    settings: Settings, publisher: Publisher, leased: ConsumerOptions, lease: Lease
) -> None:
    """As after a broker that hung during a takeover: alerting asked for its lease 60 s long, of a group that had put it
    out, and stopped no line meanwhile. Or held up in a delivery while it joined: it took over what was another's."""
    values = send(publisher, settings, 0, 10)

    class PutOut(Collect):
        def assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
            super().assigned(partitions)
            if len(self.assignments) == 1:
                admin = KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
                (group,) = admin.describe_groups([leased.group]).values()
                admin.remove_group_members(leased.group, [MemberToRemove(m["member_id"]) for m in group["members"]])
                admin.close()
                assert not lease.held, "this assignment may be of long ago"
                assert not lease.refresh()
                raise Backpressure("not ours any more")

    step = PutOut()
    with running(settings, leased, step) as loop:
        wait_until(lambda: loop.state.records == 10)
    assert sorted(step.seen) == sorted(values)


def test_a_broker_that_hangs_before_it_tells_of_the_topics_is_waited_for(
    settings: Settings, publisher: Publisher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It ended whoever was just starting, after a minute, with advice to create topics that were there."""
    values = send(publisher, settings, 0, 10)
    ask = consumer.ask_for_partitions

    def hanging(*arguments: Any, **more: Any) -> Any:
        if "waiting for the broker" not in caplog.text:
            raise KafkaTimeoutError("Timed out after 8000 ms")
        return ask(*arguments, **more)

    monkeypatch.setattr(consumer, "ask_for_partitions", hanging)
    monkeypatch.setattr(consumer, "_METADATA_TIMEOUT_S", 0.3)
    step = Collect()
    options = ConsumerOptions(settings.group("test"), (settings.topics.frames.name,))
    with running(settings, options, step) as loop:
        wait_until(lambda: loop.state.records == 10)
    assert sorted(step.seen) == sorted(values)
    assert f"waiting for the broker: no Kafka broker answers at {settings.kafka_bootstrap}" in caplog.text


def test_the_log_tells_why_no_broker_answers_although_nothing_waits_for_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of certificates that ended under a running plant the client told in a dozen lines, and none of them said so."""

    def nobody(*_: object) -> None:
        raise KafkaTimeoutError

    monkeypatch.setattr(bounds, "ends", nobody)
    monkeypatch.setattr(lag, "_TELL_SILENCE_AFTER_S", 0.1)
    monkeypatch.setattr(lag, "_ENDS_AGE_S", 0.1)
    monkeypatch.setattr("pipeline.kafka.connection.tls_fault", lambda _: "the certificate of broker-1 is not believed")
    options = ConsumerOptions(settings.group("test"), (settings.topics.frames.name,))
    with running(settings, options, Collect()):
        wait_until(
            lambda: f"no Kafka broker answers at {settings.kafka_bootstrap}: the certificate of broker-1" in caplog.text
        )


def test_the_log_tells_of_a_group_that_takes_no_member_in(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A broker answered all but its group's members (Kafka's own fault, on a starved machine): nothing was said."""
    monkeypatch.setattr(consumer, "_TELL_AGAIN_S", 0.1)
    monkeypatch.setattr(KafkaConsumer, "poll", lambda *_, **__: time.sleep(0.05) or {})
    options = ConsumerOptions(settings.group("test"), (settings.topics.frames.name,))
    with running(settings, options, Collect()):
        wait_until(lambda: f"group {options.group} has not taken this member in for" in caplog.text)


def test_a_right_that_is_missing_while_the_step_gets_ready_ends_the_loop(settings: Settings) -> None:
    class Refused(Collect):
        def assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
            raise KafkaUnavailableError("refused") from TopicAuthorizationFailedError("line-state")

    ended, options = threading.Event(), ConsumerOptions(settings.group("test"), (settings.topics.frames.name,))
    with pytest.raises(KafkaUnavailableError, match="refused"), running(settings, options, Refused(), ended):
        wait_until(ended.is_set)


def test_an_error_in_work_ends_the_loop_uncommitted(
    settings: Settings, publisher: Publisher, options: ConsumerOptions
) -> None:
    send(publisher, settings, 0, 5)

    class Broken(Collect):
        def work(self, batch: Sequence[Incoming]) -> list[bytes]:
            self.attempts += 1
            raise ZeroDivisionError("broken")

    step = Broken()
    with pytest.raises(ZeroDivisionError), running(settings, options, step):
        wait_until(lambda: step.attempts == 1)
    assert committed(settings) == 0
