"""Moves the states of lines to other partitions, after their number was changed. With all workers stopped."""

from pipeline.kafka.partitioning import partition_of
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings
from workers.alerting.core.state import Applied, Outbox
from workers.alerting.recovery import StoredLine, read_states, state_record
from workers.alerting.upkeep.standstill import refuse_while_workers_run


def move(settings: Settings, *, really: bool) -> dict[str, tuple[int, int]]:
    """line → (from, to) of each that lies elsewhere than it belongs.

    Raises KafkaUnavailableError, StateError, PublishError.
    """
    topic = settings.topics.line_state
    lines = {
        line_id: line
        for line_id, line in read_states(settings).items()
        if line.partition != partition_of(line_id.encode(), topic.partitions)
    }
    if really and lines:
        refuse_while_workers_run(settings)
        publisher = Publisher(settings, "andon-move-lines")
        try:
            publisher.publish(_moved(settings, line) for line in lines.values())
        finally:
            publisher.close()
    return {
        line_id: (line.partition, partition_of(line_id.encode(), topic.partitions)) for line_id, line in lines.items()
    }


def _moved(settings: Settings, line: StoredLine) -> Outgoing:
    """The offsets of the old partition mean nothing in the new one. No frame counts twice all the same: each camera's
    place is kept. The higher epoch makes this record the one that counts; the old one stays and is never read again."""
    state = line.state.model_copy(update={"epoch": line.state.epoch + 1, "applied": Applied(), "outbox": Outbox()})
    return state_record(settings, state)
