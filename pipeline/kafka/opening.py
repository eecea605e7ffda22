"""kafka-python's clients, with what they lack: they leave nothing behind where no broker answers, pass over one that
hangs, take their time with one that hangs up or holds them off, and where none leads, hear what it said before, and
find those that have moved."""

from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

from pipeline.kafka.mends.backing_off import back_off
from pipeline.kafka.mends.bootstrapping import one_after_another
from pipeline.kafka.mends.half_renewed import wait_for_files
from pipeline.kafka.mends.held_off import rest_while_held_off
from pipeline.kafka.mends.last_words import hear_last_words, keep_refusals
from pipeline.kafka.mends.leaderless import rest_while_leaderless
from pipeline.kafka.mends.moved import ask_those_named
from pipeline.kafka.mends.unpacking import bound_unpacking


def open_admin_client(**arguments: Any) -> KafkaAdminClient:
    """Connects. Raises KafkaError, or OSError, when no broker answers."""
    return _open(KafkaAdminClient, arguments)


def open_consumer(**arguments: Any) -> KafkaConsumer:
    """Connects. Raises KafkaError, or OSError, when no broker answers."""
    bound_unpacking()
    return _open(KafkaConsumer, arguments)


def open_producer(**arguments: Any) -> KafkaProducer:
    """Connects. Raises KafkaError, or OSError, when no broker answers."""
    producer = _open(KafkaProducer, arguments)
    rest_while_held_off(producer)
    rest_while_leaderless(producer)
    return producer


def _open(kind: Any, arguments: dict[str, Any]) -> Any:
    """kafka-python's constructors leave a thread and its sockets behind when they fail (measured: one of each per
    try), and whoever waits for a broker tries often. So the part that owns them is held here, and closed."""
    network: list[Any] = []
    refusals: list[str] = []
    hear_last_words()
    client = arguments.pop("kafka_client", kind.DEFAULT_CONFIG["kafka_client"])

    def remembered(**config: Any) -> Any:
        network.append(client(**config))
        one_after_another(network[0]._manager)
        back_off(network[0]._manager)
        ask_those_named(network[0]._manager)
        wait_for_files(network[0]._manager)
        keep_refusals(network[0]._manager, refusals)
        return network[0]

    try:
        return kind(**arguments, kafka_client=remembered)
    except BaseException as error:
        if refusals:
            error.add_note(refusals[-1])
        for opened in network:
            opened.close()
        raise
