"""Kafka with the users and rights of factory-kafka, on a real broker: a line is stopped, and nobody may do more.

Strimzi turns each KafkaUser into such ACLs; here the test does. Passwords travel by SASL PLAIN over TLS: it is the
rights that are tried, not the way of proving who one is.
"""

import os
import re
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)
from pydantic import SecretStr
from support.certificates import signed, written
from support.charts import Mode, Render, containers
from support.stream import picture, wait_until

from pipeline.audit.take_stock import take_stock
from pipeline.detectors.null import make_null_bundle
from pipeline.errors import AndonError
from pipeline.events import Act, Action, LineCommand
from pipeline.groups import INSPECTION
from pipeline.kafka.admin import check_topics, ensure_topics
from pipeline.kafka.consumer import ConsumerLoop
from pipeline.kafka.publisher import Publisher, PublishError
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.records import Outgoing
from pipeline.kafka.step import ConsumerOptions
from pipeline.maps import MapStore
from pipeline.replica.inspection import Inspection
from pipeline.replica.recipes import Recipe, load_catalog
from pipeline.scoring import Scored, Scorer
from pipeline.settings import Settings
from workers.alerting.people.asking import ask
from workers.local import kafka_broker
from workers.local.kafka_settings import broker_properties
from workers.local.ports import LOOPBACK, free_ports
from workers.local.process import ChildProcess
from workers.trying import try_recipe

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]

WRITERS = {"frames": "camera", "scores": "inference"}
USERS = ("camera", "inference", "alerting", "operator", "check")


@dataclass(frozen=True)
class Factory:
    port: int
    bootstrap: str
    """Where all is allowed."""
    redis_url: str
    folder: Path

    def environment(self, user: str) -> dict[str, str]:
        return {
            "KAFKA_BOOTSTRAP": f"{LOOPBACK}:{self.port}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SSL_CAFILE": str(self.folder / "ca.crt"),
            "KAFKA_SASL_MECHANISM": "PLAIN",
            "KAFKA_SASL_USERNAME": f"kafka-{user}",
            "KAFKA_SASL_PASSWORD": f"of-{user}",
            "ANDON_TOPIC_PREFIX": "plant1.",
            "REDIS_URL": self.redis_url,
        }

    def settings(self, user: str) -> Settings:
        return Settings(**{name.lower(): value for name, value in self.environment(user).items()})

    @contextmanager
    def process(self, user: str, *words: str) -> Iterator[ChildProcess]:
        command = [sys.executable, "-m", "workers", *words]
        environment = os.environ | self.environment(user)
        process = ChildProcess(user, command, self.folder / f"{user}.log", Path.cwd(), environment)
        try:
            yield process
        finally:
            process.stop(20)


@pytest.fixture(scope="module")
def factory(renders: dict[Mode, Render], redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Factory]:
    folder = tmp_path_factory.mktemp("rights")
    (port,) = free_ports(1)
    authority = signed()
    written(folder, "ca", authority)
    certificate, key = written(folder, "broker", signed(authority))
    store = folder / "broker.pem"
    store.write_bytes(key.read_bytes() + certificate.read_bytes())

    def secured(ports: Any, data: Path) -> dict[str, str]:
        plain = broker_properties(ports, data)
        users = " ".join(f'user_kafka-{user}="of-{user}"' for user in USERS)
        login = f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
        return plain | {
            "listeners": f"{plain['listeners']},USERS://{LOOPBACK}:{port}",
            "advertised.listeners": f"{plain['advertised.listeners']},USERS://{LOOPBACK}:{port}",
            "listener.security.protocol.map": f"{plain['listener.security.protocol.map']},USERS:SASL_SSL",
            "listener.name.users.ssl.keystore.type": "PEM",
            "listener.name.users.ssl.keystore.location": str(store),
            "listener.name.users.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.users.plain.sasl.jaas.config": login,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",  # the broker itself, and this test's set-up
        }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kafka_broker, "broker_properties", secured)
        with kafka_broker.KafkaBroker(folder / "kafka", folder / "kafka.log") as broker:
            admin = Settings(kafka_bootstrap=broker.bootstrap, andon_topic_prefix="plant1.")
            ensure_topics(admin, admin.topics)
            grant(broker.bootstrap, renders[Mode("factory-kafka", "scram")])
            yield Factory(port, broker.bootstrap, redis_url, folder)


def grant(bootstrap: str, render: Render) -> None:
    """As Strimzi's user operator does."""
    acls = [
        ACL(
            f"User:{user['metadata']['name']}",
            "*",
            ACLOperation[operation.upper() if operation != "DescribeConfigs" else "DESCRIBE_CONFIGS"],
            ACLPermissionType.ALLOW,
            ResourcePattern(
                ResourceType[acl["resource"]["type"].upper()],
                acl["resource"]["name"],
                ACLResourcePatternType["PREFIXED" if acl["resource"]["patternType"] == "prefix" else "LITERAL"],
            ),
        )
        for user in render.of_kind("KafkaUser")
        for acl in user["spec"]["authorization"]["acls"]
        for operation in acl["operations"]
    ]
    client = KafkaAdminClient(bootstrap_servers=[bootstrap])
    try:
        assert not client.create_acls(acls)["failed"]
        every = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
        everything = ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, every)
        # The controller has them; the broker learns of them a moment later.
        wait_until(lambda: len(client.describe_acls(everything)[0]) == len(acls))
    finally:
        client.close()


@dataclass(frozen=True)
class Browser:
    """A person behind the proxy of the chart, as the proxy would tell the page of them."""

    url: str
    metrics_url: str
    process: ChildProcess

    def acknowledge(self, line_id: str, reason: str) -> None:
        wait_until(lambda: self._lists(line_id) or not self.process.running)
        assert self.process.running, self.process.log_tail()
        address = f"/lines/{line_id}/acts/acknowledge"
        form, cookie = self._ask(address)
        fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form))
        self._ask(address, fields | {"reason": reason}, cookie)

    def metrics(self) -> str:
        with urllib.request.urlopen(self.metrics_url, timeout=60) as answer:
            return str(answer.read().decode())

    def _lists(self, line_id: str) -> bool:
        with suppress(OSError):
            return f"/lines/{line_id}/acts/acknowledge" in self._ask("/alarms")[0]
        return False

    def _ask(self, path: str, form: Mapping[str, str] | None = None, cookie: str = "") -> tuple[str, str]:
        """The page, and its cookie."""
        told = {"X-Forwarded-Preferred-Username": "anna", "X-Forwarded-Groups": "staff, operator"}
        headers = {"Host": "andon.example", "Accept": "text/html", "Cookie": cookie} | told
        body = urllib.parse.urlencode(form).encode() if form else None
        request = urllib.request.Request(self.url + path, body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return str(answer.read().decode()), str(answer.headers.get("set-cookie", "")).split(";")[0]


@contextmanager
def page(factory: Factory, render: Render) -> Iterator[Browser]:
    """`andon console` with the arguments of the chart, but for places and ports."""
    port, metrics_port = free_ports(2)
    places = {
        "/data": str(factory.folder / "page"),
        "/etc/andon/policies.yaml": str(factory.folder / "policies.yaml"),
        "8484": str(port),
        "9100": str(metrics_port),
        "0.0.0.0": LOOPBACK,
    }
    (container,) = (
        each for each in containers(render.pods()["Deployment/factory-console"]) if each["name"] == "console"
    )
    words = [places.get(word, word) for word in container["args"]]
    with factory.process("operator", *words) as process:
        yield Browser(f"http://{LOOPBACK}:{port}", f"http://{LOOPBACK}:{metrics_port}/metrics", process)


class _NoMeters:
    def delivered(self, scored: Scored, deliver_s: float) -> None: ...


@contextmanager
def replica(factory: Factory) -> Iterator[None]:
    """What pipeline/serving.py runs, without Ray."""
    settings = factory.settings("inference")
    topics = settings.topics
    check_topics(settings, (topics.frames, topics.frames_dead, topics.scores))
    make_null_bundle(factory.folder / "null", 32, 32)
    catalog = load_catalog(
        {"null": Recipe(bundle=str(factory.folder / "null"), cameras=("*",), late_after_s=600)}, "cpu"
    )
    store, publisher, stop = MapStore(settings.redis_address), Publisher(settings, INSPECTION), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        scorer = Scorer(pool, store.expires_at)
        step = Inspection(scorer, lambda: catalog, store, publisher, settings.topics, _NoMeters())
        options = ConsumerOptions(settings.group(INSPECTION), (settings.topics.frames.name,))
        thread = threading.Thread(target=ConsumerLoop(settings, options, step, stop).run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(30)
            publisher.close()
            store.close()


@contextmanager
def without(factory: Factory, user: str, operation: ACLOperation, kind: ResourceType, name: str) -> Iterator[None]:
    """That user lacks one right."""
    pattern = ResourcePattern(kind, name, ACLResourcePatternType.LITERAL)
    right = ACL(f"User:kafka-{user}", "*", operation, ACLPermissionType.ALLOW, pattern)
    client = KafkaAdminClient(bootstrap_servers=[factory.bootstrap])
    try:
        assert client.delete_acls([right])[0][1]
        yield
    finally:
        client.create_acls([right])
        client.close()


def holds(settings: Settings) -> list[LineCommand]:
    records = read_to_end(settings, [settings.topics.line_commands.name])
    commands = [LineCommand.from_json(record.value) for record in records]
    return [command for command in commands if command.action is Action.HOLD]


def test_each_user_may_do_what_its_component_does(factory: Factory, renders: dict[Mode, Render]) -> None:
    images = factory.folder / "images"
    images.mkdir()
    for number in range(12):
        (images / f"{number:03d}.png").write_bytes(picture(220, seed=number))
    cameras = {
        "when_full": "block",
        "cameras": [
            {
                "camera_id": "cam-1",
                "line_id": "line-1",
                "station_id": "s",
                "recipe": "null",
                # Until it is told to end: what its folder held could not wait, without a spool, for a slow login.
                "source": {"type": "folder", "path": str(images), "fps": 5, "loop": True},
            }
        ],
    }
    (factory.folder / "cameras.yaml").write_text(yaml.safe_dump(cameras))
    policies = {"defaults": {"k": 3, "n": 5, "action": "HOLD", "max_age_s": 600}}
    (factory.folder / "policies.yaml").write_text(yaml.safe_dump(policies))
    person = factory.settings("operator")
    with (
        replica(factory),
        factory.process("alerting", "alerting", "run", "--policies", str(factory.folder / "policies.yaml")) as alerting,
        factory.process("camera", "camera", "run", "--config", str(factory.folder / "cameras.yaml")) as camera,
        page(factory, renders[Mode("factory", "passwords")]) as browser,
    ):
        assert try_recipe(factory.settings("check"), "null", timeout_s=90).score.recipe == "null"
        wait_until(lambda: len(holds(person)) == 1 or not alerting.running)
        assert alerting.running, alerting.log_tail()
        camera.ask_to_end()
        browser.acknowledge("line-1", "seen")
        wait_until(lambda: "andon_console_reading 1.0" in browser.metrics())
        wait_until(lambda: 'andon_console_waiting{group="andon-alerting"}' in browser.metrics())
        wait_until(lambda: not camera.running)
        assert camera.exit_code == 0, camera.log_tail()
        wait_until(lambda: all(account.in_flight == 0 for account in take_stock(person)))
        answer = ask(person, "line-1", Act.RESET, actor="anna", reason="mended", timeout_s=90)
        assert answer.changes
        assert not answer.refused
    accounts = {account.camera_id: account for account in take_stock(person)}
    assert accounts["cam-1"].scored == accounts["cam-1"].captured >= 3
    assert all(account.balanced for account in accounts.values())


@pytest.mark.parametrize(
    ("user", "topic"),
    [
        ("camera", "line-commands"),
        ("camera", "scores"),
        ("inference", "line-commands"),
        ("inference", "operations"),
        ("alerting", "operations"),
        ("alerting", "frames"),
        ("operator", "line-commands"),
        ("operator", "frames"),
        ("check", "scores"),
    ],
)
def test_no_user_may_write_what_is_anothers(factory: Factory, user: str, topic: str) -> None:
    publisher = Publisher(factory.settings(user), "intruder", delivery_timeout_s=60)
    try:
        with pytest.raises(
            PublishError, match=f"refuses us the right Write on topic 'plant1.{topic}': give it to"
        ) as told:
            publisher.publish([Outgoing(f"plant1.{topic}", b"key", b"{}")], timeout_s=60)
        assert told.value.refused
    finally:
        publisher.close(flush_timeout_s=0)


@pytest.mark.parametrize(("user", "topic"), [("camera", "frames"), ("inference", "scores"), ("check", "frames")])
def test_no_user_may_read_what_it_does_not_need(factory: Factory, user: str, topic: str) -> None:
    publisher = Publisher(factory.settings(WRITERS[topic]), "writer", delivery_timeout_s=60)
    try:  # of an empty topic nobody is refused anything
        publisher.publish([Outgoing(f"plant1.{topic}", b"key", b"{}")], timeout_s=60)
    finally:
        publisher.close(flush_timeout_s=5)
    with pytest.raises(AndonError, match=f"refuses us the right Read on topic 'plant1.{topic}': give it to"):
        list(read_to_end(factory.settings(user), [f"plant1.{topic}"], timeout_s=60))


@pytest.mark.parametrize(
    ("operation", "kind", "name", "says"),
    [
        (ACLOperation.READ, ResourceType.TOPIC, "plant1.frames", "the right Read on topic 'plant1.frames'"),
        (ACLOperation.READ, ResourceType.GROUP, f"plant1.{INSPECTION}", "the right Read on group"),
        (ACLOperation.DESCRIBE_CONFIGS, ResourceType.TOPIC, "plant1.frames", "the right DescribeConfigs on topic"),
    ],
)  # fmt: skip
def test_a_right_that_is_missing_is_named(
    factory: Factory, operation: ACLOperation, kind: ResourceType, name: str, says: str
) -> None:
    with (
        without(factory, "inference", operation, kind, name),
        pytest.raises(AndonError, match=f"Kafka refuses us {says}.*: give it to the user in KAFKA_SASL_USERNAME"),
    ):
        wait_until(lambda: _refused(factory))


def _refused(factory: Factory) -> bool:
    """False while the broker has not heard of it yet. Raises what it says then."""
    settings, stop = factory.settings("inference"), threading.Event()
    topics = settings.topics
    check_topics(settings, (topics.frames, topics.frames_dead, topics.scores))
    threading.Timer(3, stop.set).start()
    ConsumerLoop(settings, ConsumerOptions(settings.group(INSPECTION), (topics.frames.name,)), _Nothing(), stop).run()
    return False


class _Nothing:
    def assigned(self, partitions: object) -> None: ...

    def work(self, batch: object) -> None: ...

    def deliver(self, result: None) -> None: ...


def test_a_password_that_is_refused_is_told_of_as_such(factory: Factory) -> None:
    settings = factory.settings("camera").model_copy(update={"kafka_sasl_password": SecretStr("another")})
    with pytest.raises(
        AndonError, match=r"takes our login: .*Invalid username or password; look at KAFKA_SASL_USER"
    ) as told:
        check_topics(settings, (settings.topics.frames,))
    assert "another" not in str(told.value)


def test_a_topic_that_a_user_may_not_see_is_told_of_as_such(factory: Factory) -> None:
    settings = factory.settings("camera")
    with pytest.raises(
        AndonError, match=r"'plant1\.scores' does not exist.*If it exists, the right Describe is missing"
    ):
        check_topics(settings, (settings.topics.scores,))
