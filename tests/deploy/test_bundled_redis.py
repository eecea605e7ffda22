"""The bundled Redis, started by its own script: it takes what Andon asks of it, from its user alone, and no more."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from support.charts import Mode, Render, rendered
from support.stream import wait_until

from pipeline.events import KafkaPosition
from pipeline.maps import MapEntry, MapStore
from pipeline.settings import Settings
from workers.local.ports import LOOPBACK, free_ports
from workers.local.process import ChildProcess
from workers.local.valkey import _binary

pytestmark = pytest.mark.services

PASSWORD = "s3cret / with $igns"


@dataclass(frozen=True)
class Server:
    port: int
    username: str
    pid: int

    def settings(self, password: str = PASSWORD) -> Settings:
        return Settings(
            redis_url=f"redis://{LOOPBACK}:{self.port}/0", redis_username=self.username, redis_password=password
        )

    def client(self, **login: Any) -> Any:
        return redis.Redis(host=LOOPBACK, port=self.port, socket_timeout=60, retry=Retry(NoBackoff(), 0), **login)


@pytest.fixture(scope="module", params=["", "andon"], ids=["default user", "named user"])
def server(
    request: pytest.FixtureRequest, renders: dict[Mode, Render], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with running(renders[Mode("factory", "trial")], tmp_path_factory.mktemp("bundled-redis"), request.param) as found:
        yield found


@contextmanager
def running(render: Render, tmp_path: Path, username: str) -> Iterator[Server]:
    """The script and the configuration of the ConfigMap, with folders of our own in place of the container's."""
    data = render.one("ConfigMap", "-redis")["data"]
    (port,) = free_ports(1)
    places = {"/run/secrets/redis": tmp_path / "secrets", "/etc/valkey": tmp_path / "etc", "/tmp": tmp_path / "tmp"}
    for folder in (*places.values(), tmp_path / "bin"):
        folder.mkdir()
    for name, content in data.items():
        moved = re.sub("|".join(map(re.escape, places)), lambda found: str(places[found.group()]), content)
        (tmp_path / "etc" / name).write_text(moved)
    with (tmp_path / "etc" / "valkey.conf").open("a") as config:
        config.write(f"\nbind {LOOPBACK}\nport {port}\n")
    (tmp_path / "secrets" / "password").write_text(PASSWORD + "\n")
    if username:
        (tmp_path / "secrets" / "username").write_text(username)
    (tmp_path / "bin" / "valkey-server").symlink_to(_binary())
    path = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    process = ChildProcess("valkey", ["/bin/sh", str(tmp_path / "etc" / "start.sh")], tmp_path / "log", tmp_path, path)
    found = Server(port, username, process.pid)

    def answers() -> bool:
        try:
            found.client().ping()
        except redis.AuthenticationError:
            return True
        except redis.ConnectionError:
            return False
        return True

    try:
        wait_until(answers)
        yield found
    finally:
        process.stop(10)


def test_andon_can_do_all_that_it_does(server: Server) -> None:
    settings = server.settings()
    store = MapStore(settings.redis_address, login=settings.redis_login, ttl_s=60)
    place = KafkaPosition(topic="frames", partition=0, offset=7)
    grid = np.ones((4, 4), np.float32)
    store.put([MapEntry("andon:map:c:b:1:h", "c:b:1", grid, b"jpeg", {"verdict": "OK"}, place)])
    stored = store.get("andon:map:c:b:1:h")
    assert stored is not None
    assert (stored.frame_id, stored.position) == ("c:b:1", place)
    assert store.keys_of("c:b:1") == ["andon:map:c:b:1:h"]
    store.close()


def test_nobody_gets_in_without_the_password(server: Server) -> None:
    with pytest.raises(redis.AuthenticationError):
        server.client().get("andon:map:x")
    with pytest.raises(redis.AuthenticationError):
        server.client(username=server.username or "default", password="wrong").get("andon:map:x")


@pytest.mark.parametrize("command", [("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*"), ("SET", "other:key", "1")])
def test_even_its_user_may_do_no_more(server: Server, command: tuple[str, ...]) -> None:
    client = server.client(username=server.username or "default", password=PASSWORD)
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command)


def test_maps_go_when_memory_is_short(renders: dict[Mode, Render]) -> None:
    config = renders[Mode("factory", "trial")].one("ConfigMap", "-redis")["data"]["valkey.conf"]
    assert "maxmemory 512mb" in config
    assert "maxmemory-policy volatile-ttl" in config


def test_a_full_one_stays_below_the_memory_of_its_pod(tmp_path: Path) -> None:
    """The least that may be chosen was killed: beside what maps take, the server itself takes some MiB."""
    least = rendered(Mode("factory", "trial"), "--set", "redis.bundled.maxMemoryMib=32")
    (container,) = least.one("StatefulSet", "-redis")["spec"]["template"]["spec"]["containers"]
    limit_mib = int(container["resources"]["limits"]["memory"].removesuffix("Mi"))
    with running(least, tmp_path, "") as server:
        client = server.client(password=PASSWORD)
        for number in range(1500):
            client.set(f"andon:map:{number}", b"x" * 50_000, ex=3600)
        assert client.exists("andon:map:0") == 0, "it was not full"
        (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text(encoding="utf-8"))
    assert int(peak) / 1024 < 0.75 * limit_mib
