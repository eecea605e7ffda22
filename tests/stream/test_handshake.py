"""What is wrong with a certificate is told in words, by a handshake with a real TLS server."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest
from kafka import KafkaProducer
from kafka.errors import KafkaConnectionError
from support.certificates import DAY, NOW, Signed, signed, written

from pipeline.kafka.connection import connection, no_answer
from pipeline.kafka.handshake import tls_fault
from pipeline.kafka.opening import _open
from pipeline.settings import Settings
from workers.local.ports import LOOPBACK, free_ports

pytestmark = pytest.mark.unit


class Server:
    """Wants a certificate of the authority, as Kafka with ssl.client.auth=required does."""

    def __init__(self, own: tuple[Path, Path], authority: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*own)
        self._context.load_verify_locations(authority)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server((LOOPBACK, 0))
        self.address = f"{LOOPBACK}:{self._listener.getsockname()[1]}"
        self._ends = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while not self._ends.is_set():
            try:
                peer = self._listener.accept()[0]
                with self._context.wrap_socket(peer, server_side=True) as secure:
                    secure.recv(1)  # until the client has seen enough
            except OSError:
                continue

    def close(self) -> None:
        self._ends.set()
        self._listener.close()


@pytest.fixture(scope="module")
def authority() -> Signed:
    return signed()


@pytest.fixture
def at(tmp_path: Path, authority: Signed) -> Iterator[dict[str, object]]:
    """Settings with which nothing is wrong, and the server that they lead to."""
    ca, _ = written(tmp_path, "ca", authority)
    server = Server(written(tmp_path, "server", signed(authority)), ca)
    certificate, key = written(tmp_path, "client", signed(authority))
    yield {
        "kafka_bootstrap": server.address, "kafka_security_protocol": "SSL",
        "kafka_ssl_cafile": ca, "kafka_ssl_certfile": certificate, "kafka_ssl_keyfile": key,
    }  # fmt: skip
    server.close()


def told(found: dict[str, object]) -> str:
    return str(no_answer(Settings.model_validate(found), TimeoutError("nothing")))


def test_of_good_certificates_nothing_is_said(at: dict[str, object]) -> None:
    assert tls_fault(Settings.model_validate(at)) is None


def test_our_certificate_has_expired(at: dict[str, object], tmp_path: Path, authority: Signed) -> None:
    certificate, key = written(tmp_path, "old", signed(authority, until=NOW - DAY))
    said = told(at | {"kafka_ssl_certfile": certificate, "kafka_ssl_keyfile": key})
    assert f"refuses our certificate (certificate expired): KAFKA_SSL_CERTFILE is {certificate}" in said


def test_we_have_none_and_they_want_one(at: dict[str, object]) -> None:
    said = told(at | {"kafka_ssl_certfile": None, "kafka_ssl_keyfile": None})
    assert "refuses our certificate (certificate required): name one in KAFKA_SSL_CERTFILE" in said


@pytest.mark.parametrize(
    ("server", "says"),
    [
        ({"until": NOW - DAY}, "is not believed: certificate has expired. Renew it there, or set this machine's clock"),
        ({"address": "127.0.0.9"}, "Write in KAFKA_BOOTSTRAP a name that it holds"),
    ],
    ids=["expired", "of another name"],
)
def test_the_brokers_certificate(
    at: dict[str, object], server: dict[str, object], says: str, tmp_path: Path, authority: Signed
) -> None:
    own = written(tmp_path, "other", signed(authority, **server))  # type: ignore[arg-type]
    other = Server(own, tmp_path / "ca.crt")
    try:
        assert says in told(at | {"kafka_bootstrap": other.address})
    finally:
        other.close()


def test_another_authority_signed_it(at: dict[str, object], tmp_path: Path) -> None:
    stranger, _ = written(tmp_path, "stranger", signed())
    assert f"KAFKA_SSL_CAFILE is {stranger}: it must hold" in told(at | {"kafka_ssl_cafile": stranger})


def test_files_that_tls_cannot_use(at: dict[str, object], tmp_path: Path, authority: Signed) -> None:
    _, key = written(tmp_path, "another", signed(authority))
    assert f"the key {key} is not the key of" in told(at | {"kafka_ssl_keyfile": key})
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    assert f"KAFKA_SSL_CAFILE: {nonsense} holds no certificate" in told(at | {"kafka_ssl_cafile": nonsense})
    assert "hold no certificate and unlocked key" in told(at | {"kafka_ssl_certfile": nonsense})


class Client:
    """Of kafka-python, as all of ours are opened; it connects when it is asked to."""

    DEFAULT_CONFIG: ClassVar[dict[str, object]] = KafkaProducer.DEFAULT_CONFIG

    def __init__(self, kafka_client: Callable[..., Any], bootstrap_servers: list[str], **rest: object) -> None:
        self.network = kafka_client(bootstrap_servers=bootstrap_servers, **rest)
        self.close = self.network.close

    def connect(self) -> None:
        manager = self.network._manager
        (broker,) = manager.cluster.bootstrap_brokers()
        manager.run(manager._build_transport, broker).close()


def test_a_client_waits_for_the_key_of_a_renewed_certificate(
    at: dict[str, object], tmp_path: Path, authority: Signed
) -> None:
    """Alerting and replicas that connected just then ended with what TLS says, which is no error of Kafka's."""
    with closing(_open(Client, connection(Settings.model_validate(at), "test"))) as client:
        client.connect()
        renewed, key = written(tmp_path, "renewed", signed(authority))
        renewed.replace(str(at["kafka_ssl_certfile"]))
        with pytest.raises(KafkaConnectionError, match="KEY_VALUES_MISMATCH"):
            client.connect()
        Path(str(at["kafka_ssl_keyfile"])).unlink()
        with pytest.raises(KafkaConnectionError, match="No such file"):
            client.connect()
        key.replace(str(at["kafka_ssl_keyfile"]))
        client.connect()


@pytest.mark.parametrize(
    ("heard", "answer", "says"),
    [(1, b"what?\r\n", "does not speak TLS"), (1, b"", "hangs up as soon"), (4096, b"", "hangs up as soon")],
    ids=["answers", "hangs up as Kafka does", "hangs up politely"],
)
def test_who_speaks_no_tls(at: dict[str, object], heard: int, answer: bytes, says: str) -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as peer:
                peer.recv(heard)
                peer.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        address = f"{LOOPBACK}:{listener.getsockname()[1]}"
        assert f"{address} {says}" in told(at | {"kafka_bootstrap": address})


def test_who_speaks_tls_to_one_that_does_not(at: dict[str, object]) -> None:
    """It was told as a broker that does not answer."""
    said = told({"kafka_bootstrap": at["kafka_bootstrap"]})
    assert f"{at['kafka_bootstrap']} speaks TLS, and KAFKA_SECURITY_PROTOCOL is PLAINTEXT: set it to SSL" in said


def test_brokers_that_are_silent_hold_nobody_up_for_long(
    at: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.kafka.handshake._SEARCH_S", 0.2)
    with socket.create_server((LOOPBACK, 0)) as silent:
        address = f"{LOOPBACK}:{silent.getsockname()[1]}"
        began = time.monotonic()
        assert tls_fault(Settings.model_validate(at | {"kafka_bootstrap": ",".join([address] * 500)})) is None
    assert time.monotonic() - began < 50  # one after the other: 100


def test_where_nobody_is_there_the_question_stays(at: dict[str, object]) -> None:
    (port,) = free_ports(1)
    assert "Is it running, is KAFKA_BOOTSTRAP right" in told(at | {"kafka_bootstrap": f"{LOOPBACK}:{port}"})


@pytest.mark.parametrize(("mechanism", "sent"), [("SCRAM-SHA-256", "a=2Cb=3Dc"), ("PLAIN", "a,b=c")])
def test_a_users_name_goes_out_as_its_mechanism_wants_it(mechanism: str, sent: str) -> None:
    """Kafka said that our password is wrong."""
    login = {"kafka_sasl_mechanism": mechanism, "kafka_sasl_username": "a,b=c", "kafka_sasl_password": "p"}
    settings = Settings.model_validate({"kafka_security_protocol": "SASL_SSL"} | login)
    assert connection(settings, "test")["sasl_plain_username"] == sent
