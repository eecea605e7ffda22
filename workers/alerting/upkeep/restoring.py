"""Puts back the last state of a line that can be read, where a damaged one lies over it. With all workers stopped."""

from datetime import datetime

from pipeline.events import Action, from_ms
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings
from workers.alerting.core.state import LineState, NewerStateError, StateError
from workers.alerting.people.audit_log import read_log
from workers.alerting.recovery import epoch_of, state_record
from workers.alerting.upkeep.standstill import refuse_while_workers_run


def restore(settings: Settings, line_id: str, *, really: bool) -> tuple[LineState, datetime] | None:
    """The state that is put back, and when it was written; None where the newest is well.

    Raises KafkaUnavailableError, StateError, PublishError.
    """
    topic = settings.topics.line_state.name
    stored = read_to_end(settings, [topic], over_unreadable=False)
    records = [record for record in stored if record.key == line_id.encode() and record.value]
    fault: StateError | None = None
    for record in sorted(records, key=lambda record: (epoch_of(record), record.offset), reverse=True):
        try:
            state = LineState.from_json(record.value or b"", record.place, line_id)
        except NewerStateError:
            raise
        except StateError as error:
            fault = fault or error
            continue
        if fault is None:
            return None
        # Above all that lie there, so that this record is the one that counts; and no number of the audit log twice.
        epoch = max(state.epoch, *map(epoch_of, records)) + 1
        audited = max([state.audited, *(entry.number for entry in read_log(settings, line_id, None))])
        state = _without_release(state).model_copy(update={"epoch": epoch, "audited": audited})
        if really:
            refuse_while_workers_run(settings)
            _publish(settings, state_record(settings, state))
        return state, from_ms(record.timestamp_ms)
    if fault is None:
        raise StateError(f"nothing is stored of line {line_id!r} in {topic!r}")
    raise StateError(
        f"of line {line_id!r} nothing in {topic!r} can be read any more. What is left is to make that topic anew, with "
        'every worker stopped; docs/alerting-inside.md ("Repairs") says what that costs'
    )


def _without_release(state: LineState) -> LineState:
    """A stop that the lost states knew of may stand at the PLC, and an old reset was of an older one: where nothing is
    asked for, what stands there is left as a stop that nobody here ordered, and not taken away."""
    if state.last_command is None or state.last_command.action is not Action.UNHOLD_PERMITTED:
        return state
    return state.model_copy(update={"last_command": None, "proved": False})


def _publish(settings: Settings, record: Outgoing) -> None:
    publisher = Publisher(settings, "andon-restore-line")
    try:
        publisher.publish([record])
    finally:
        publisher.close()
