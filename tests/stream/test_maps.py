"""Where maps are kept, against a real server."""

import dataclasses
import socket
import threading
import time
import tracemalloc
import zlib
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from support.stream import wait_until

from pipeline.events import KafkaPosition
from pipeline.maps import MapEntry, MapStore, MapStoreError
from workers.local.ports import LOOPBACK, free_ports
from workers.local.process import ChildProcess
from workers.local.valkey import Valkey, _binary, server_arguments

MIB = 1024 * 1024

pytestmark = pytest.mark.services


@pytest.mark.parametrize(("highest", "step"), [(40.0, 40 / 2**11), (70_000.0, 70_000 / 255)])
def test_a_map_that_half_precision_can_not_hold_is_kept_all_the_same(
    own_redis: Valkey, highest: float, step: float
) -> None:
    """From 65,520 on its values came back as infinity."""
    grid = np.linspace(-1, highest, 12, dtype=np.float32).reshape(3, 4)
    store = MapStore(own_redis.url, half_precision=True)
    store.put([dataclasses.replace(entry(), anomaly_map=grid)])
    stored = store.get(entry().key)
    assert stored
    np.testing.assert_allclose(stored.anomaly_map, grid, rtol=0, atol=step)
    store.close()


def entry() -> MapEntry:
    grid = np.ones((4, 4), np.float32)
    position = KafkaPosition(topic="frames", partition=0, offset=7)
    return MapEntry("andon:map:c:b:1:h", "c:b:1", grid, b"jpeg", {}, position)


def test_a_password_that_was_changed_is_asked_for_anew(own_redis: Valkey) -> None:
    """Replicas waited for Redis for ever, and frames in Kafka, until somebody deleted their pods."""
    admin, password = redis.Redis.from_url(own_redis.url), "old"

    def change(password: str) -> None:
        admin.execute_command("ACL", "SETUSER", "andon", "on", "resetpass", f">{password}", "~andon:*", "+@all")
        admin.client_kill_filter(user="andon")

    change("old")
    store = MapStore(own_redis.url, login=lambda: ("andon", password))
    store.put([entry()])
    change("new")
    with pytest.raises(MapStoreError):
        store.put([entry()])
    password = "new"
    store.put([entry()])
    store.close()
    admin.close()


def test_a_full_redis_that_evicts_nothing_is_told_in_words(own_redis: Valkey) -> None:
    """`waiting_for` began with a hundred bytes of a JPEG, and did not say what to do."""
    admin = redis.Redis.from_url(own_redis.url)
    admin.config_set("maxmemory-policy", "noeviction")
    admin.config_set("maxmemory", "1")
    store = MapStore(own_redis.url)
    with pytest.raises(MapStoreError, match=r"Redis is full.*maxmemory-policy volatile-ttl") as told:
        store.put([entry()])
    assert "jpeg" not in str(told.value)
    admin.config_set("maxmemory", "0")
    store.put([entry()])
    store.close()
    admin.close()


def test_one_that_hangs_is_asked_once() -> None:
    """Each command, each connection and each login of it was tried anew: a picture, or a replica's batch, waited 19 s
    where 2 were given. A real one that is frozen does not tell how often."""
    asked = 0
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as held:

        def accept() -> None:
            nonlocal asked
            with suppress(OSError):
                while True:
                    held.enter_context(server.accept()[0])
                    asked += 1

        threading.Thread(target=accept, daemon=True).start()
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        with closing(MapStore(url, timeout_s=0.2)) as store, pytest.raises(MapStoreError, match="did not answer"):
            store.get("x")
        server.shutdown(socket.SHUT_RDWR)
    assert asked == 1


@pytest.mark.parametrize("stale", ["yes", "no"])
def test_who_finds_a_demoted_primary_connects_anew(own_redis: Valkey, stale: str) -> None:
    """After a failover its name leads to another; replicas stayed with the old one, and waited for ever. One that gives
    out nothing old was called a Redis Cluster."""
    with redis.Redis.from_url(own_redis.url) as admin:
        admin.config_set("replica-serve-stale-data", stale)
        store = MapStore(own_redis.url)
        store.put([entry()])
        admin.replicaof("127.0.0.1", "1")
        before = {client["id"] for client in admin.client_list()} - {str(admin.client_id())}
        with pytest.raises(MapStoreError, match="is a replica by now"):
            store.put([entry()])
        if stale == "no":
            with closing(MapStore(own_redis.url)) as page, pytest.raises(MapStoreError, match="It is a replica: does"):
                page.get("andon:map:c:b:1:h")
        wait_until(lambda: not before & {client["id"] for client in admin.client_list()})
        admin.replicaof("no", "one")
        store.put([entry()])
        store.close()


def test_a_login_that_redis_refuses_is_told_with_where_to_look(own_redis: Valkey) -> None:
    store = MapStore(own_redis.url, login=lambda: ("nobody", "secret-of-nobody"))
    with pytest.raises(MapStoreError, match=r"invalid username-password.*\. Look at REDIS_USERNAME and REDIS_") as told:
        store.get("andon:map:c:b:1:h")
    assert "secret-of-nobody" not in str(told.value)


def test_a_right_that_redis_refuses_is_told_without_the_picture(own_redis: Valkey) -> None:
    with redis.Redis.from_url(own_redis.url) as admin:
        admin.acl_setuser("reader", enabled=True, passwords=["+of-reader"], keys=["*"], categories=["+@read"])
        store = MapStore(own_redis.url, login=lambda: ("reader", "of-reader"))
        try:
            with pytest.raises(MapStoreError, match=r"no permissions to run .*\. Its ACL must give .*\+@write") as told:
                store.put([entry()])
        finally:
            store.close()
            admin.acl_deluser("reader")
    assert "HSET" not in str(told.value)


IN_A_CLUSTER = "REDIS_URL leads to a Redis Cluster: Andon needs one server that holds all keys"


class OfACluster(Valkey):
    def _launch(self) -> ChildProcess:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.bus,) = free_ports(1)
        more = ["--cluster-enabled", "yes", "--cluster-port", str(self.bus)]
        argv = [str(_binary()), *server_arguments(self.settings, self.port, self.folder), *more]
        return ChildProcess(self.name, argv, self.log, cwd=self.folder)


def test_a_cluster_is_told_of_as_one(tmp_path: Path) -> None:
    """All that was said was '15671 10.0.0.2:6379'."""
    with OfACluster(tmp_path / "a", tmp_path / "a.log") as one, OfACluster(tmp_path / "b", tmp_path / "b.log") as other:
        store = MapStore(one.url)
        entries = [dataclasses.replace(entry(), key=f"andon:map:c:b:{number}:h") for number in range(20)]

        def told() -> str:
            with pytest.raises(MapStoreError) as told:
                store.put(entries)
            return str(told.value)

        assert told().endswith(IN_A_CLUSTER)
        with redis.Redis.from_url(one.url) as here, redis.Redis.from_url(other.url) as there:
            here.execute_command("CLUSTER ADDSLOTSRANGE 0 8191")
            there.execute_command("CLUSTER ADDSLOTSRANGE 8192 16383")
            here.execute_command("CLUSTER MEET", LOOPBACK, other.port, other.bus)
            wait_until(lambda: here.cluster("info")["cluster_state"] == "ok")
        assert f"{LOOPBACK}:{other.port}" in (last := told())
        assert last.endswith(IN_A_CLUSTER)
        store.close()


class Sentinel(Valkey):
    def _launch(self) -> ChildProcess:
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "sentinel.conf"
        settings.write_text(f"port {self.port}\nbind {LOOPBACK}\n")
        return ChildProcess(self.name, [str(_binary()), str(settings), "--sentinel"], self.log, cwd=self.folder)


def test_a_sentinel_is_told_of_as_one_and_without_the_picture(tmp_path: Path) -> None:
    with Sentinel(tmp_path / "sentinel", tmp_path / "log") as sentinel, closing(MapStore(sentinel.url)) as store:
        with pytest.raises(MapStoreError, match=r"unknown command 'HSET'\. Is REDIS_URL a Sentinel's\? Name") as told:
            store.put([entry()])
        assert "jpeg" not in str(told.value)


def test_tls_that_fails_is_told_with_where_to_look(own_redis: Valkey) -> None:
    store = MapStore(own_redis.url.replace("redis://", "rediss://") + "?ssl_ca_certs=/nowhere.crt")
    with pytest.raises(MapStoreError, match=r"Look at the certificates that REDIS_URL names \(ssl_ca_certs"):
        store.get("andon:map:c:b:1:h")


def test_no_certificate_is_blamed_for_what_tls_has_no_part_in() -> None:
    """Of a name that nobody knows, or a Redis that loads its data after a restart, the operator heard of dates."""
    store = MapStore("rediss://nowhere.invalid:6379/0")
    with pytest.raises(MapStoreError, match=r"Is it running, and is REDIS_URL right\?") as told:
        store.get("andon:map:c:b:1:h")
    assert "certificate" not in str(told.value)


def test_an_option_that_there_is_not_is_named() -> None:
    with pytest.raises(MapStoreError, match=r"REDIS_URL has an option that there is not: .*'ssl_cafile'"):
        MapStore("rediss://127.0.0.1:1/0?ssl_cafile=ca.crt")


@pytest.mark.parametrize("option", ["db=one", "protocol=9", "socket_timeout=long"])
def test_an_options_value_that_there_is_not_is_named(option: str) -> None:
    """It ended in a trace."""
    with pytest.raises(MapStoreError, match=f"REDIS_URL: .*{option.split('=')[0]}"):
        MapStore(f"redis://127.0.0.1:1?{option}")


def test_of_several_maps_of_a_frame_the_newest_is_last(own_redis: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """`andon map` drew the one of the model whose hash came last in the alphabet, and on a busy machine the one that it
    asked about first."""
    store = MapStore(own_redis.url)
    ask = redis.Redis.pttl

    def slowly(*arguments: Any) -> Any:
        time.sleep(0.05)
        return ask(*arguments)

    monkeypatch.setattr(redis.Redis, "pttl", slowly)
    keys = [f"andon:map:c:b:1:h{number}" for number in (5, 2, 4, 1, 3)]
    for key in keys:
        store.put([dataclasses.replace(entry(), key=key)])
        time.sleep(0.01)
    assert store.keys_of("c:b:1") == keys
    store.close()


@pytest.mark.parametrize(
    "fields",
    [
        {"position": None},
        {"position": "frames"},
        {"map_u8": b"\x89PNG torn"},
        {"map_u8": None, "map_f16": b"no zlib", "shape": "4,4"},
        {"map_u8": None, "map_f16": zlib.compress(bytes(2**20)), "shape": "1000000,1000000"},
        {"map_u8": None, "map_f16": zlib.compress(bytes(2)), "shape": "4,4"},
    ],
    ids=["no position", "half a position", "torn", "no zlib", "too large", "too small"],
)
def test_what_is_no_map_of_ours_is_none_and_is_told(
    fields: dict[str, str | bytes | None], own_redis: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    """The page of the part answered with a 500, for whoever may write to Redis may have written it."""
    key, client = entry().key, redis.Redis.from_url(own_redis.url)
    with closing(MapStore(own_redis.url)) as store, closing(client):
        store.put([entry()])
        for name, value in fields.items():
            client.hdel(key, name) if value is None else client.hset(key, name, value)
        assert store.get(key) is None
    assert f"what Redis holds at '{key}' is no map of ours: " in caplog.text


def test_a_key_of_another_type_keeps_no_frame_waiting(own_redis: Valkey) -> None:
    """One under the name of a frame's map held up its partition for ever, and its lines with it."""
    with closing(MapStore(own_redis.url)) as store, redis.Redis.from_url(own_redis.url) as client:
        client.set(entry().key, "x")
        with pytest.raises(MapStoreError, match=r"none of ours: removed$"):
            store.put([entry()])
        store.put([entry()])
        assert store.get(entry().key) is not None


def test_a_key_of_another_type_that_may_not_be_removed_is_not_called_removed(own_redis: Valkey) -> None:
    """Frames waited for ever, for what was said to be gone."""
    with redis.Redis.from_url(own_redis.url) as admin:
        admin.set(entry().key, "x")
        admin.acl_setuser(
            "writer", enabled=True, passwords=["+of-writer"], keys=["*"], categories=["+@all"], commands=["-del"]
        )
        store = MapStore(own_redis.url, login=lambda: ("writer", "of-writer"))
        try:
            with pytest.raises(MapStoreError, match=r"none of ours, and is there still: .*'del'.* Its ACL must give "):
                store.put([entry()])
        finally:
            store.close()
            admin.delete(entry().key)
            admin.acl_deluser("writer")


def test_a_key_of_another_type_is_no_map(own_redis: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    with closing(MapStore(own_redis.url)) as store, redis.Redis.from_url(own_redis.url) as client:
        client.set(entry().key, "x")
        assert store.get(entry().key) is None
    assert f"what Redis holds at '{entry().key}' is no map of ours: " in caplog.text


def test_a_map_unpacks_to_no_more_than_it_says(own_redis: Valkey) -> None:
    """A few kilobytes could fill the memory of the page."""
    key, client = entry().key, redis.Redis.from_url(own_redis.url)
    with closing(MapStore(own_redis.url, half_precision=True)) as store, closing(client):
        store.put([entry()])
        client.hset(key, "map_f16", zlib.compress(bytes(256 * MIB), 9))
        tracemalloc.start()
        store.get(key)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 16 * MIB
