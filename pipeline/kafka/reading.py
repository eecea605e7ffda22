"""Reading topics without a group: to the end as it stands now, or following what comes."""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from pipeline.events import ContractError, Frame, KafkaPosition, to_ms
from pipeline.kafka.connection import KafkaUnavailableError, connection, led_astray, no_answer
from pipeline.kafka.mends import bounds
from pipeline.kafka.mends.anew import Anew
from pipeline.kafka.mends.expired import Expired
from pipeline.kafka.mends.metadata import ask_for_partitions, known_now
from pipeline.kafka.mends.unreadable import incoming, step_over_unreadable
from pipeline.kafka.opening import open_consumer
from pipeline.kafka.records import Incoming
from pipeline.kafka.rights import missing, refusal
from pipeline.settings import Settings

Place = tuple[str, int]
"""(topic, partition)"""
CLOCKS_MAY_DIFFER = timedelta(minutes=2)
"""By so much two brokers' may: what came after a record may be dated before it in another topic."""

_T = TypeVar("_T")

_HUNG_UP_S = 8.0
"""A broker that hangs up is asked again for so long: it is being restarted, or a quota holds new connections off."""
_QUIET_S = 3.0
"""Who follows and hears nothing for so long asks whether the broker is there: a poll comes back as empty from one that
is gone as from one that has nothing to tell."""
_AWAY_AFTER_S = 8.0
"""Longer than a broker that is restarted needs to be followed by another."""
_ASK_AGAIN_S = 3.0
"""That a topic is missing is believed after so long: the answer may be to a refresh that was asked for others."""
_BOUNDS_MS = 30_000
"""For so long a broker may take to say where partitions begin and end."""
_RECORD_S = 8.0
"""And for so long to give a single record."""
_METADATA_AGE_MS = 10_000
"""Who follows hears after so long of partitions that were added, and of a topic that was made anew."""


def read_to_end(
    settings: Settings,
    topics: Sequence[str],
    *,
    start: Mapping[Place, int] | None = None,
    partitions: Sequence[int] | None = None,
    timeout_s: float = 30,
) -> Iterator[Incoming]:
    """Yields every record up to the end that each partition has now, partition by partition in order. What can't be
    read is yielded too, as `unreadable`.

    start: offsets to begin at; the beginning where none is given, or where the end lies before it: such a topic was
    made anew, or lost its end. partitions: only these; all by default.
    Raises KafkaUnavailableError when nothing comes for `timeout_s` although more is there.
    """
    with _Reader(settings) as consumer:
        places = _places(consumer, settings, topics, partitions)
        ends = bounds.ends(consumer, places, int(timeout_s * 1000))
        begins = bounds.begins(consumer, places, int(timeout_s * 1000))
        for at in places:
            begin = max(begins[at], (start or {}).get((at.topic, at.partition), 0))
            begins[at] = begin if begin <= ends[at] else begins[at]
        yield from _between(consumer, settings, begins, ends, timeout_s)


def _between(
    consumer: KafkaConsumer,
    settings: Settings,
    begins: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    timeout_s: float,
) -> Generator[Incoming, None, None]:
    """From each begin to just before each end."""
    left = [at for at in begins if begins[at] < ends[at]]
    consumer.assign(left)
    for at in left:
        consumer.resume(at)
        consumer.seek(at, begins[at])
    heard = time.monotonic()
    while left:
        polled = _unless_away(partial(consumer.poll, timeout_ms=500)) or {}
        if polled:
            heard = time.monotonic()
        elif time.monotonic() - heard > timeout_s:
            raise KafkaUnavailableError(
                f"nothing came from {settings.kafka_bootstrap} for {timeout_s:g} s although there is more to read"
            ) from KafkaTimeoutError()
        for at, records in polled.items():
            for record in records:
                if at in left and record.offset < ends[at]:
                    yield incoming(record)
        for at in list(left):
            if (_unless_away(partial(_read_to, consumer, at)) or 0) >= ends[at]:
                left.remove(at)
                consumer.pause(at)


def _read_to(consumer: KafkaConsumer, at: TopicPartition) -> int:
    """By position, not by the last record: compaction and aborted writes leave holes at the end. Raises KafkaError."""
    return consumer.position(at, timeout_ms=5_000) or 0


def read_on(
    settings: Settings,
    topics: Sequence[str],
    start: Mapping[Place, int],
    *,
    timeout_s: float,
    every_s: float,
    partitions: Sequence[int] | None = None,
) -> Iterator[list[Incoming]]:
    """What has come since the last look, for so long, and each record once. For who waits for an answer.

    Raises KafkaUnavailableError.
    """
    start, deadline_s = dict(start), time.monotonic() + timeout_s
    while True:
        left_s = max(1.0, deadline_s - time.monotonic())
        found = list(read_to_end(settings, topics, start=start, partitions=partitions, timeout_s=left_s))
        start |= {(record.topic, record.partition): record.offset + 1 for record in found}
        yield found
        if time.monotonic() >= deadline_s:
            return
        time.sleep(every_s)


def ends_of(settings: Settings, topics: Sequence[str]) -> dict[Place, int]:
    """Where each partition ends now: what comes from here on is new. Raises KafkaUnavailableError."""
    with _Reader(settings) as consumer:
        ends = bounds.ends(consumer, _places(consumer, settings, topics, None), _BOUNDS_MS)
        return {(at.topic, at.partition): offset for at, offset in ends.items()}


def kept_of(settings: Settings, topics: Sequence[str]) -> dict[Place, range]:
    """The offsets that each partition holds now: the first that has not expired, up to its end. Raises
    KafkaUnavailableError."""
    with _Reader(settings) as consumer:
        places = _places(consumer, settings, topics, None)
        begins, ends = (ask(consumer, places, _BOUNDS_MS) for ask in (bounds.begins, bounds.ends))
        return {(at.topic, at.partition): range(begins[at], ends[at]) for at in places}


def places_at(settings: Settings, topics: Sequence[str], since: datetime) -> dict[Place, int]:
    """The first offset of each partition at or after a moment; its end where nothing is so new.

    Raises KafkaUnavailableError.
    """
    with _Reader(settings) as consumer:
        places = _places(consumer, settings, topics, None)
        ends = bounds.ends(consumer, places, _BOUNDS_MS)
        found = consumer.offsets_for_times(dict.fromkeys(places, max(0, to_ms(since))), timeout_ms=_BOUNDS_MS)
        return {(at.topic, at.partition): found[at].offset if found.get(at) else ends[at] for at in places}


def read_one(settings: Settings, topic: str, partition: int, offset: int) -> Incoming | None:
    """The record at exactly this place, or None when it has expired. Raises KafkaUnavailableError."""
    with closing(read_each(settings, [(topic, partition, offset)])) as found:
        return next(found)


def read_frame(settings: Settings, at: KafkaPosition, frame_id: str) -> Incoming | None:
    """The record of this frame, or None when it has expired, or another frame has its place by now: in a topic that was
    made anew, or after a power cut that took the end of a log. Raises KafkaUnavailableError."""
    record = read_one(settings, at.topic, at.partition, at.offset)
    try:
        return record if record and Frame.from_headers(record.headers).frame_id == frame_id else None
    except ContractError:
        return None


def read_each(settings: Settings, wanted: Sequence[tuple[str, int, int]]) -> Generator[Incoming | None, None, None]:
    """The records at these (topic, partition, offset), in this order; None for each that has expired. Raises
    KafkaUnavailableError."""
    with _Reader(settings) as consumer:
        for topic, partition, offset in wanted:
            yield _read_at(consumer, settings, topic, partition, offset)


def _read_at(consumer: KafkaConsumer, settings: Settings, topic: str, partition: int, offset: int) -> Incoming | None:
    places = _places(consumer, settings, [topic], [partition])
    if not places:
        return None  # whoever named the place may have made it up
    (at,) = places
    begin = bounds.begins(consumer, [at], int(_RECORD_S * 1000))[at]
    end = bounds.ends(consumer, [at], int(_RECORD_S * 1000))[at]
    if not begin <= offset < end:
        return None
    return next(_between(consumer, settings, {at: offset}, {at: offset + 1}, _RECORD_S), None)


def follow(
    settings: Settings,
    topics: Sequence[str],
    stop: threading.Event,
    *,
    from_beginning: bool = False,
    start: Mapping[Place, int] | None = None,
    ends: Mapping[Place, int] | None = None,
    reached: Callable[[], None] = lambda: None,
    away: Callable[[str | None], None] = lambda why: None,
) -> Iterator[Incoming]:
    """Yields what comes until `stop` is set; from now on unless `from_beginning`. Outlasts a broker that is away, and
    a topic that is made anew or gets more partitions. What can't be read is yielded too, as `unreadable`. What Kafka
    deletes before it is read here the log tells.

    start: offsets to begin at instead, for the partitions that it names. reached: called once, when all before `ends`
    was yielded. away: called with why when the broker has not answered for a while, and with None when it does again.
    """
    with _Reader(settings) as consumer:
        places = _places(consumer, settings, topics, None)
        consumer.assign(places)
        anew, expired = Anew(consumer), Expired()
        anew.begin()
        expired.watch(consumer)
        (consumer.seek_to_beginning if from_beginning else consumer.seek_to_end)(*places)
        for at in places:
            if start and (at.topic, at.partition) in start:
                consumer.seek(at, start[at.topic, at.partition])
        left = None if ends is None else [at for at in places if (at.topic, at.partition) in ends]
        answered_s, told = time.monotonic(), False
        while not stop.is_set():
            if (known := known_now(consumer, places)) != places:
                places = known
                consumer.assign(places)  # those that were added begin at their beginning
            made_anew = anew.begin()
            try:
                if ends is not None and left is not None:
                    left = [at for at in left if at.topic not in made_anew]
                    left = [at for at in left if _read_to(consumer, at) < ends[at.topic, at.partition]]
                    if not left:
                        left = None
                        reached()
                polled = consumer.poll(timeout_ms=200)
                if not polled and time.monotonic() - answered_s < _QUIET_S:
                    continue
                if not polled:
                    bounds.ends(consumer, places, 3_000)
            except KafkaError as error:
                if not error.retriable:
                    raise
                if not told and time.monotonic() - answered_s > _AWAY_AFTER_S:
                    told = True
                    away(_why_silent(consumer, settings, topics, error))
                stop.wait(0.5)
                continue
            answered_s = time.monotonic()
            if told:
                told = False
                away(None)
            came = [incoming(record) for records in polled.values() for record in records]
            expired.tell(came)
            yield from came


def _why_silent(consumer: KafkaConsumer, settings: Settings, topics: Sequence[str], error: KafkaError) -> str:
    """The client waits as long for what a topic holds that is gone as for a broker that is."""
    with suppress(KafkaError):
        known = ask_for_partitions(consumer, topics, timeout_s=8)
        if absent := [topic for topic, parts in known.items() if not parts]:
            return f"{missing(settings, *absent)}."
    return str(no_answer(settings, error, consumer))


class _Reader:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        try:
            self._consumer = open_consumer(
                **connection(settings, "andon-reader"),
                allow_auto_create_topics=False,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                fetch_max_wait_ms=100,
                max_partition_fetch_bytes=8 * 1024 * 1024,
                metadata_max_age_ms=_METADATA_AGE_MS,
            )
        except KafkaError as error:
            raise no_answer(settings, error) from error
        step_over_unreadable(self._consumer)

    def __enter__(self) -> KafkaConsumer:
        return self._consumer

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._consumer.close(autocommit=False, timeout_ms=5_000)
        if isinstance(error, KafkaError):
            if error.retriable and (found := led_astray(self._settings, error, self._consumer)):
                raise found from error
            said = refusal(error, "Read")
            raise KafkaUnavailableError(f"reading from {self._settings.kafka_bootstrap} failed: {said}") from error


def _places(
    consumer: KafkaConsumer, settings: Settings, topics: Sequence[str], partitions: Sequence[int] | None
) -> list[TopicPartition]:
    found = _known_partitions(consumer, settings, topics)
    deadline = time.monotonic() + _ASK_AGAIN_S
    while absent := [topic for topic, parts in found.items() if not parts]:
        if time.monotonic() > deadline:
            raise KafkaUnavailableError(missing(settings, *absent))
        time.sleep(0.2)
        found = _known_partitions(consumer, settings, topics)
    return [
        TopicPartition(topic, part)
        for topic, parts in found.items()
        for part in sorted(parts)
        if partitions is None or part in partitions
    ]


def _known_partitions(consumer: KafkaConsumer, settings: Settings, topics: Sequence[str]) -> dict[str, set[int]]:
    deadline = time.monotonic() + _HUNG_UP_S
    while True:
        try:
            consumer.bootstrap(timeout_ms=8_000)
            return ask_for_partitions(consumer, topics, timeout_s=8)
        except KafkaError as error:
            if not error.retriable or time.monotonic() > deadline:
                raise no_answer(settings, error, consumer) from error
        time.sleep(0.2)


def _unless_away(ask: Callable[[], _T]) -> _T | None:
    """None where the broker does not answer now, and may in a moment."""
    try:
        return ask()
    except KafkaError as error:
        if not error.retriable:
            raise
        time.sleep(0.2)
        return None
