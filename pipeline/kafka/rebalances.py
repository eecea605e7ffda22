"""What a member of a group remembers of its assignments."""

from collections.abc import Iterable

from kafka import ConsumerRebalanceListener, TopicPartition

from pipeline.kafka.lease import Lease


class Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Counts assignments. It runs on the client's own thread, where nothing may block."""

    def __init__(self, lease: Lease | None) -> None:
        self.count = 0
        self._lease = lease
        self._since: dict[TopicPartition, int] = {}

    def ours_since(self, count: int) -> set[TopicPartition]:
        """Those of that assignment that have been ours all the time: no other can have gone on with them."""
        return {at for at, since in self._since.items() if since <= count}

    def on_partitions_revoked(self, revoked: object) -> None:
        if self._lease:
            self._lease.drop()

    def on_partitions_lost(self, lost: object) -> None:
        self._since = {}
        self.on_partitions_revoked(lost)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        # The whole assignment, as an eager assignor (Range) has it told; under a cooperative one it is what was added.
        self._since = {at: self._since.get(at, self.count + 1) for at in assigned}
        self.count += 1
