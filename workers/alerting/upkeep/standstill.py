"""What writes over the states of lines must do it alone: a worker that runs has them in memory, and stores them."""

from pipeline import groups
from pipeline.kafka.consumer_groups import members
from pipeline.settings import Settings
from workers.alerting.core.state import StateError


def refuse_while_workers_run(settings: Settings) -> None:
    """Raises StateError, KafkaUnavailableError."""
    group = settings.group(groups.ALERTING)
    if running := members(settings, group):
        raise StateError(
            f"alerting workers still run ({running} in group {group!r}), and would write over it: stop them all first. "
            "One that was killed counts for some seconds more"
        )
