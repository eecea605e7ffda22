"""Kafka and Redis for one machine: those that the environment names, else our own for as long as they are needed."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.addresses import without_password
from pipeline.kafka.probe import broker_answers
from pipeline.settings import SettingsError, read_settings
from workers.local.data_folder import DataFolder
from workers.local.errors import ServiceError
from workers.local.kafka_broker import KafkaBroker, silent
from workers.local.redis_probe import redis_answers
from workers.local.valkey import Valkey, ValkeySettings

_ANSWER_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Services:
    kafka_bootstrap: str
    redis_url: str
    broker: KafkaBroker | None
    """None where the environment names a broker."""
    valkey: Valkey | None
    """None where the environment names a Redis."""

    def wait_until_they_answer(self, say: Callable[[str], None]) -> None:
        """What was launched serves requests afterwards. Raises ServiceError."""
        for server, address in ((self.valkey, self.redis_url), (self.broker, self.kafka_bootstrap)):
            if server:
                server.wait_until_it_answers()
                say(f"{server.name} answers on {address}")

    @property
    def environment(self) -> dict[str, str]:
        """What other processes need in their environment to find the same services."""
        return {"KAFKA_BOOTSTRAP": self.kafka_bootstrap, "REDIS_URL": self.redis_url}


@dataclass(frozen=True)
class Ports:
    """Where our own services listen; None: on any free port."""

    kafka: int | None = None
    redis: int | None = None


@contextmanager
def services(
    home: Path | None, say: Callable[[str], None] = silent, ports: Ports = Ports(), *, wait: bool = True
) -> Iterator[Services]:
    """What it starts, it stops: in order, on leaving, on failure and on Ctrl-C. `home`: see `DataFolder.at`.

    wait: until they answer. Without, the caller starts what does not need them yet, and calls `wait_until_they_answer`.
    """
    folder = DataFolder.at(home)
    named = named_services(os.environ)
    check(named)
    with ExitStack() as started:
        if len(named) < 2:
            folder.create()
            started.enter_context(folder.lock())
        valkey = None if "REDIS_URL" in named else _launch_valkey(folder, ports.redis, started)
        broker = None if "KAFKA_BOOTSTRAP" in named else _launch_broker(folder, ports.kafka, started, say)
        running = Services(
            kafka_bootstrap=broker.bootstrap if broker else named["KAFKA_BOOTSTRAP"],
            redis_url=valkey.url if valkey else named["REDIS_URL"],
            broker=broker,
            valkey=valkey,
        )
        if wait:
            running.wait_until_they_answer(say)
        if broker or valkey:
            folder.publish(running.environment)
        yield running


def named_services(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: environment[name] for name in ("KAFKA_BOOTSTRAP", "REDIS_URL") if environment.get(name)}


def check(named: Mapping[str, str]) -> None:
    """Raises ServiceError for a service that the environment names and that does not answer."""
    advice = "Start it, correct the variable, or unset it: then Andon starts its own"
    try:
        settings = read_settings()
    except SettingsError as error:
        raise ServiceError(str(error)) from error
    bootstrap = named.get("KAFKA_BOOTSTRAP")
    if bootstrap and not broker_answers(bootstrap, _ANSWER_TIMEOUT_S, settings):
        raise ServiceError(
            f"KAFKA_BOOTSTRAP={bootstrap}: no Kafka broker answers there within {_ANSWER_TIMEOUT_S:g} s. {advice}"
        )
    if url := named.get("REDIS_URL"):
        try:
            answers = redis_answers(url, _ANSWER_TIMEOUT_S)
        except ValueError as error:
            raise ServiceError(f"REDIS_URL is no address of a Redis: {error}") from error
        if not answers:
            raise ServiceError(
                f"REDIS_URL={without_password(url)}: no Redis answers there within {_ANSWER_TIMEOUT_S:g} s. {advice}"
            )


def _launch_valkey(folder: DataFolder, port: int | None, started: ExitStack) -> Valkey:
    valkey = Valkey(folder.valkey, folder.logs / "valkey.log", ValkeySettings(port=port))
    started.callback(valkey.stop)
    valkey.launch()
    return valkey


def _launch_broker(folder: DataFolder, port: int | None, started: ExitStack, say: Callable[[str], None]) -> KafkaBroker:
    broker = KafkaBroker(folder.kafka, folder.logs / "kafka.log", port=port, say=say)
    say("starting Apache Kafka")
    started.callback(broker.stop)
    broker.launch()
    return broker
