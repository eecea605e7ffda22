"""Real services for every test that asks for one, and a guard that no process is left behind.

Where they come from: the environment (KAFKA_BOOTSTRAP, REDIS_URL) → our own embedded Kafka and Valkey → containers,
where a Docker daemon answers. Without any of them a test is skipped, and with CI=true it fails: a green CI that
skipped its tests would say nothing.
"""

import os
import re
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import hypothesis
import pytest
from support.stream import settings_for

from pipeline.kafka.admin import ensure_topics
from pipeline.settings import Settings
from workers.local.errors import ServiceError
from workers.local.kafka_broker import KafkaBroker
from workers.local.services import check, named_services
from workers.local.valkey import Valkey, ValkeySettings

MIB = 1024 * 1024

# How long an example takes says something about the machine, and nothing about what is tested.
hypothesis.settings.register_profile("andon", deadline=None)
hypothesis.settings.load_profile("andon")

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes whose torch takes all cores each slow one another down many times over.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker that all tests share: use `unique` in the names of topics and groups, and never stop it."""
    folder = tmp_path_factory.mktemp("kafka")
    with _service("KAFKA_BOOTSTRAP", lambda: _embedded_kafka(folder), _kafka_container) as bootstrap:
        yield bootstrap


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis that all tests share: use `unique` in the names of keys, and never stop it."""
    folder = tmp_path_factory.mktemp("valkey")
    with _service("REDIS_URL", lambda: _embedded_valkey(folder), _redis_container) as url:
        yield url


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> str:
    """A prefix that no other test uses, fit for topics, groups and keys."""
    test = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:40].strip("-").lower()
    return f"{test}-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def settings(kafka_bootstrap: str, unique: str) -> Settings:
    """A factory of the test's own on the broker that all share; its topics are there."""
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    return settings


@pytest.fixture(scope="session")
def _private_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    folder = tmp_path_factory.mktemp("own-kafka")
    broker = KafkaBroker(folder / "data", folder / "kafka.log")
    yield broker
    broker.stop()


@pytest.fixture
def own_kafka(_private_broker: KafkaBroker) -> KafkaBroker:
    """A broker that the test may kill, pause and restart. Whatever it does, the next test gets it running again."""
    if _private_broker.paused:
        _private_broker.resume()
    if not _private_broker.running:
        _or_give_up(_private_broker.start)
    return _private_broker


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Valkey]:
    """A fresh Valkey of the test's own, that it may kill, pause and restart."""
    valkey = Valkey(tmp_path / "own-valkey", tmp_path / "own-valkey.log", ValkeySettings(max_memory_bytes=64 * MIB))
    _or_give_up(valkey.start)
    yield valkey
    valkey.stop()


@contextmanager
def _service(
    variable: str,
    embedded: Callable[[], AbstractContextManager[str]],
    container: Callable[[], AbstractContextManager[str]],
) -> Iterator[str]:
    """The address of a service from the first source that has one."""
    named = {name: value for name, value in named_services(os.environ).items() if name == variable}
    if named:
        check(named)  # a service that was named and is away is an error, never a reason to test another one
        yield named[variable]
        return
    with ExitStack() as started:
        try:
            address = started.enter_context(embedded())
        except ServiceError as error:
            if not _docker_answers():
                _give_up(f"{error}. No Docker daemon answers either; name a running service in {variable}")
            address = started.enter_context(container())
        yield address


@contextmanager
def _embedded_kafka(folder: Path) -> Iterator[str]:
    with KafkaBroker(folder / "data", folder / "kafka.log", say=print) as broker:
        yield broker.bootstrap


@contextmanager
def _embedded_valkey(folder: Path) -> Iterator[str]:
    with Valkey(folder, folder / "valkey.log") as valkey:
        yield valkey.url


@contextmanager
def _kafka_container() -> Iterator[str]:
    from testcontainers.community.kafka import KafkaContainer

    container = KafkaContainer().with_kraft().with_env("KAFKA_MESSAGE_MAX_BYTES", str(16 * MIB))
    with container.with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false") as kafka:
        yield kafka.get_bootstrap_server()


@contextmanager
def _redis_container() -> Iterator[str]:
    from testcontainers.community.redis import RedisContainer

    with RedisContainer() as redis:
        yield f"redis://{redis.get_container_host_ip()}:{redis.get_exposed_port(redis.port)}/0"


def _docker_answers() -> bool:
    try:
        import docker  # type: ignore[import-untyped]

        return bool(docker.from_env(timeout=3).ping())
    except Exception:  # the package may be absent, the daemon away, its socket forbidden: all mean no
        return False


def _or_give_up(start: Callable[[], None]) -> None:
    try:
        start()
    except ServiceError as error:
        _give_up(str(error))


def _give_up(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


_KINDS = {"unit", "services", "cluster", "browser", "slow"}
_TOGETHER = ("detectors", "cluster", "console")
"""Folders whose tests share what is dear to start: trained models, a Ray, a browser with a whole plant."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuses a test that no `-m` would ever pick. With several workers, what stays together begins first: begun last,
    it would go on alone beside an idle core."""
    unmarked = {item.nodeid for item in items if not any(mark.name in _KINDS for mark in item.iter_markers())}
    if unmarked:
        raise pytest.UsageError(f"tests without one of the marks {', '.join(sorted(_KINDS))}: {sorted(unmarked)}")
    if "PYTEST_XDIST_WORKER" in os.environ:
        order = {name: number for number, name in enumerate(_TOGETHER)}
        items.sort(key=lambda item: order.get(item.path.parent.name, len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With several workers (`-n 2 --dist loadscope`): one of them gets all tests of a file, which share its fixtures,
    and all of some folders. xdist's own marks for this do nothing since pytest 9.2, without a word."""
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = Path(nodeid.split("::")[0])
            return file.parent.name if file.parent.name in _TOGETHER else str(file)

    return Together(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails a session that leaves child processes behind, and ends them: the next session starts clean."""
    if session.config.getoption("numprocesses", None):
        return  # the children of this one are the workers, and each of them looks at its own
    left = _children_after_grace(grace_s=10.0)
    for pid, command in left.items():
        print(f"\nERROR: a test left process {pid} behind: {command}")
        os.kill(pid, signal.SIGKILL)
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _children_after_grace(grace_s: float) -> dict[int, str]:
    deadline = time.monotonic() + grace_s
    while (left := _children()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def _children() -> dict[int, str]:
    """Child processes of this one, read from /proc; none where a system has no /proc."""
    found = {}
    for listing in Path("/proc/self/task").glob("*/children"):
        for pid in listing.read_text().split():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").replace("\0", " ").strip()
            except OSError:
                continue  # ended meanwhile
            # Python's own helper ends with its parent; a zombie has no command line.
            if command and "multiprocessing.resource_tracker" not in command:
                found[int(pid)] = command[:300]
    return found
