"""Nothing runs that is not the listed jar, wherever it came from."""

import functools
import hashlib
import os
import ssl
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.certificates import signed, written

from workers.local import kafka_jars
from workers.local.errors import ServiceError
from workers.local.kafka_jars import Jar, kafka_classpath, listed_jars

CONTENT = b"not really a jar"
JAR = Jar("org.example", "thing", "1.0", hashlib.sha256(CONTENT).hexdigest())
PLACE = Path("org/example/thing/1.0/thing-1.0.jar")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Maven mirror that serves JAR, and settings of a user who has nothing else and an empty local repository."""
    folder = tmp_path / "mirror"
    (folder / PLACE).parent.mkdir(parents=True)
    (folder / PLACE).write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    settings = tmp_path / "jgo.conf"
    settings.write_text(f"[repositories]\ncentral = http://127.0.0.1:{server.server_port}\n", encoding="utf-8")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(settings))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    monkeypatch.setattr(kafka_jars, "listed_jars", lambda: [JAR])
    yield folder
    server.shutdown()
    server.server_close()


@pytest.mark.unit
def test_the_list_names_one_kafka_and_each_jar_once() -> None:
    jars = listed_jars()
    names = [(jar.group, jar.artifact) for jar in jars]
    assert len(names) == len(set(names))
    kafka_versions = {jar.version for jar in jars if jar.group == "org.apache.kafka"}
    assert len(kafka_versions) == 1
    assert all(len(jar.sha256) == 64 for jar in jars)


@pytest.mark.unit
def test_a_line_of_the_list_survives_writing_and_reading() -> None:
    assert Jar.parse(str(JAR)) == JAR


@pytest.mark.services
def test_the_users_mirror_and_local_repository_are_used(mirror: Path, tmp_path: Path) -> None:
    assert kafka_classpath(print) == str(tmp_path / "m2" / PLACE)
    assert (tmp_path / "m2" / PLACE).read_bytes() == CONTENT


@pytest.mark.services
def test_a_jar_that_is_there_is_not_downloaded_again(mirror: Path, tmp_path: Path) -> None:
    kafka_classpath(print)
    (mirror / PLACE).unlink()
    said: list[str] = []
    assert kafka_classpath(said.append) == str(tmp_path / "m2" / PLACE)
    assert said == []


@pytest.mark.services
def test_a_damaged_jar_is_replaced(mirror: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "m2" / PLACE
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(CONTENT[:5])
    kafka_classpath(print)
    assert damaged.read_bytes() == CONTENT


@pytest.mark.services
def test_a_jar_with_another_hash_is_refused_and_not_kept(mirror: Path, tmp_path: Path) -> None:
    (mirror / PLACE).write_bytes(b"something else")
    with pytest.raises(ServiceError, match="the mirror served something else"):
        kafka_classpath(print)
    assert not (tmp_path / "m2" / PLACE).exists()


@pytest.mark.services
def test_a_proxy_with_a_certificate_of_its_own_is_named_with_the_way_to_trust_it(mirror: Path, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*written(tmp_path, "proxy", signed()))
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(mirror)))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    settings = Path(os.environ["JGO_CONFIG_FILE"])
    settings.write_text(f"[repositories]\ncentral = https://127.0.0.1:{server.server_port}\n", encoding="utf-8")
    try:
        with pytest.raises(ServiceError, match="REQUESTS_CA_BUNDLE"):
            kafka_classpath(print)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.services
def test_a_jar_that_cannot_be_had_says_what_to_do(mirror: Path) -> None:
    (mirror / PLACE).unlink()
    with pytest.raises(ServiceError, match=r"could not download thing-1\.0\.jar .* KAFKA_BOOTSTRAP"):
        kafka_classpath(print)
