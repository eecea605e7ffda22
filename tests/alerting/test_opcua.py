"""What OPC UA alone can do: a server that answers for a PLC it has lost, and nodes that are not there."""

import asyncio
import socket
import socketserver
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alerting.plc_peers import LINE, PATIENT_S, TIMEOUT_S, config, wait_for
from asyncua import Client, Server, ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.crypto.validator import CertificateValidator
from cryptography.x509 import Certificate
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.waiting import wait_until
from typer.testing import CliRunner

from pipeline.events import Action
from workers.alerting.actuators.base import Actuator, ActuatorError, Image, ReadBack, matches
from workers.alerting.actuators.config import Codes, OpcUaConfig, OpcUaNodes
from workers.alerting.actuators.open import open_actuator
from workers.commands.alerting import alerting
from workers.local.ports import free_ports

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("quick_opcua")]

HOLD = Image(epoch=1, heartbeat=1, action=Action.HOLD, run_permit=False)
_KINDS = {"Command": "UInt16", "Epoch": "UInt32", "Heartbeat": "UInt16", "RunPermit": "Boolean"}
_SHOWN = ("Stop", "Reject", "Held")


class Gateway:
    """An OPC UA server that keeps what it is given: no program follows it."""

    password: str | None = None
    """Where there is one, nobody gets in without it."""

    def __init__(
        self,
        port: int,
        identity: Path | None = None,
        namespaces: Sequence[str] = ("urn:a-gateway",),
        refuses: int | None = None,
        **kinds: str,
    ) -> None:
        """`identity`: folder with its certificate and key, where it asks for security. `namespaces`: from 2 on, each
        with the same nodes. `refuses`: with this status, whoever shows a certificate; else it looks whether that names
        the application. `kinds`: of the nodes that are written, where they are not the usual."""
        self._refuses = refuses
        self._kinds = _KINDS | kinds
        self._identity = identity
        self._namespaces = namespaces
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = Server(user_manager=self)
        self._run(self._start(port))

    def shows(self, name: str, value: Any, status: int = ua.StatusCodes.Good) -> None:
        shown = ua.DataValue(ua.Variant(value), StatusCode=ua.StatusCode(status))
        self._run(self._server.write_attribute_value(ua.NodeId(f"{LINE}.{name}", 2), shown))

    def command(self, namespace: int) -> int:
        return int(self._run(self._server.get_node(ua.NodeId(f"{LINE}.Command", namespace)).read_value()))

    def get_user(
        self, iserver: Any, username: str | None = None, password: str | None = None, certificate: Any = None
    ) -> User | None:
        return User(role=UserRole.User) if self.password in (None, password) else None

    def stop(self) -> None:
        self._run(self._server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self, port: int) -> None:
        await self._server.init()
        self._server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/andon")
        policies = [ua.SecurityPolicyType.NoSecurity]
        if self._identity:
            policies = [ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt]
            await self._server.load_certificate(self._identity / "cert.der")
            await self._server.load_private_key(self._identity / "key.pem")
            self._server.set_certificate_validator(self._validate)
        self._server.set_security_policy(policies)
        for uri in self._namespaces:
            await self._add(await self._server.register_namespace(uri))
        await self._server.start()

    async def _validate(self, certificate: Certificate, application: ua.ApplicationDescription) -> None:
        if self._refuses:
            raise ServiceError(self._refuses)
        await CertificateValidator()(certificate, application)

    async def _add(self, namespace: int) -> None:
        for name, kind in (self._kinds | dict.fromkeys(_SHOWN, "Boolean")).items():
            initial: Any = False if kind == "Boolean" else 0
            at = ua.NodeId(f"{LINE}.{name}", namespace)
            node = await self._server.nodes.objects.add_variable(at, name, initial, ua.VariantType[kind])
            if name in _KINDS:
                await node.set_writable()
        await self._server.nodes.objects.add_variable(ua.NodeId(f"{LINE}.Text", namespace), "Text", "true")

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def gateway(port: int) -> Iterator[Gateway]:
    running = Gateway(port)
    for name in ("Stop", "Held"):
        running.shows(name, True)
    yield running
    running.stop()


@contextmanager
def opened(port: int, folder: Path, timeout_s: float = PATIENT_S, **nodes: str) -> Iterator[Actuator]:
    found = config("opcua", port, folder, timeout_s)
    assert isinstance(found, OpcUaConfig)
    actuator = open_actuator(LINE, found.model_copy(update={"nodes": found.nodes.model_copy(update=nodes)}))
    try:
        yield actuator
    finally:
        actuator.close()


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (None, ua.StatusCodes.BadNotConnected),
        (True, ua.StatusCodes.BadCommunicationError),
        (True, ua.StatusCodes.UncertainLastUsableValue),
    ],
)
def test_what_a_server_does_not_vouch_for_proves_no_stop(
    gateway: Gateway, port: int, tmp_path: Path, value: Any, status: int
) -> None:
    """A gateway whose PLC is away takes every write, and goes on telling what it saw last."""
    with opened(port, tmp_path) as actuator:
        assert matches(HOLD, actuator.exchange(HOLD, lambda: None))
        gateway.shows("Stop", value, status)
        with pytest.raises(ActuatorError, match=rf"{LINE}\.Stop"):
            actuator.exchange(HOLD, lambda: None)
        gateway.shows("Stop", True)
        assert matches(HOLD, actuator.exchange(HOLD, lambda: None))


@pytest.mark.parametrize(
    ("node", "told"), [("Stopp", "BadNodeIdUnknown"), ("Text", "holds 'true', which is neither a number nor a Boolean")]
)
def test_a_node_that_is_no_signal_is_told_and_proves_no_stop(
    gateway: Gateway, port: int, tmp_path: Path, node: str, told: str
) -> None:
    with (
        opened(port, tmp_path, stop=f"ns=2;s={LINE}.{node}") as actuator,
        pytest.raises(ActuatorError, match=rf"{LINE}\.{node}.*{told}"),
    ):
        actuator.exchange(HOLD, lambda: None)


def test_a_server_is_shown_the_changed_password_by_the_next_connection(
    gateway: Gateway, port: int, tmp_path: Path
) -> None:
    found, file = config("opcua", port, tmp_path), tmp_path / "password"
    assert isinstance(found, OpcUaConfig)
    file.write_text("old")
    gateway.password = "new"
    actuator = open_actuator(LINE, found.model_copy(update={"user": "andon", "password_file": file}))
    try:
        with pytest.raises(ActuatorError, match=r"BadUserAccessDenied\); look at `user`, .* `password_file`$"):
            actuator.read()
        file.write_text("new")
        assert actuator.read().stop
    finally:
        actuator.close()


def test_a_node_that_refuses_the_write_is_named(gateway: Gateway, port: int, tmp_path: Path) -> None:
    with (
        opened(port, tmp_path, run_permit=f"ns=2;s={LINE}.Held") as actuator,
        pytest.raises(ActuatorError, match=rf"{LINE}\.Held can't be written.*BadUserAccessDenied"),
    ):
        actuator.exchange(HOLD, lambda: None)


def test_a_server_that_numbers_its_namespaces_anew_gets_no_stop_of_another_line(port: int, tmp_path: Path) -> None:
    """By number alone the neighbour's nodes of the same names took the stop, and proved it."""
    asked = config("opcua", port, tmp_path)
    assert isinstance(asked, OpcUaConfig)

    def by(namespace: str) -> Actuator:
        named = {key: f"{namespace};s={LINE}.{name}" for key, name in (("command", "Command"), ("stop", "Stop"))}
        return open_actuator(LINE, asked.model_copy(update={"nodes": OpcUaNodes.model_validate(named)}))

    by_number, by_uri, nowhere = by("ns=2"), by("nsu=urn:ours"), by("nsu=urn:elsewhere")
    server = Gateway(port, namespaces=("urn:ours", "urn:theirs"))
    try:
        with pytest.raises(ActuatorError, match=r"no namespace urn:elsewhere; it has .*urn:ours, urn:theirs"):
            nowhere.read()
        for actuator in (by_number, by_uri):
            actuator.exchange(HOLD, lambda: None)
            assert server.command(2) == 1
        server.stop()
        server = Gateway(port, namespaces=("urn:theirs", "urn:ours"))
        for actuator in (by_number, by_uri):
            with pytest.raises(ActuatorError):
                actuator.read()  # finds the old connection closed
        with pytest.raises(ActuatorError, match=r"namespace 2 was urn:ours and is urn:theirs now.*write nsu=urn:ours"):
            by_number.exchange(HOLD, lambda: None)
        assert (server.command(2), server.command(3)) == (0, 0)
        by_uri.exchange(HOLD, lambda: None)
        assert (server.command(2), server.command(3)) == (0, 1)
    finally:
        for actuator in (by_number, by_uri, nowhere):
            actuator.close()
        server.stop()


class Slow(socketserver.BaseRequestHandler):
    """Before a server: each of its answers takes its time."""

    delay_s = 0.5
    port = 0

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as server:
            asking = threading.Thread(target=self._pass, args=(self.request, server, 0))
            asking.start()
            self._pass(server, self.request, self.delay_s)
            asking.join()

    def _pass(self, from_: socket.socket, to: socket.socket, delay_s: float) -> None:
        with suppress(OSError):
            while content := from_.recv(65536):
                time.sleep(delay_s)
                to.sendall(content)
        with suppress(OSError):
            to.shutdown(socket.SHUT_RDWR)


def stands(actuator: Actuator) -> bool:
    try:
        return matches(HOLD, actuator.exchange(HOLD, lambda: None))
    except ActuatorError:
        return False


def test_a_server_that_answers_every_request_in_time_is_reached(
    gateway: Gateway, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To connect takes seven of them: all together may take longer than two."""
    monkeypatch.setattr(Slow, "port", port)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Slow) as slow:
        slow.daemon_threads = True
        threading.Thread(target=slow.serve_forever, daemon=True).start()
        try:
            with opened(slow.server_address[1], tmp_path, timeout_s=1.5) as actuator:
                wait_for(lambda: stands(actuator), "an attempt in which a busy machine adds no second to an answer")
        finally:
            slow.shutdown()


def test_what_the_servers_system_has_not_taken_is_given_up_before_the_next_exchange(
    gateway: Gateway, port: int, tmp_path: Path
) -> None:
    """Its connection waited a second for a farewell: where the network was away for as long, a HOLD that was given up
    stopped the line 0.7 s after it had confirmed RUN."""
    away, back, took = threading.Event(), threading.Event(), list[int]()
    filling = bytes(2**22)  # before the HOLD, and more than the system has buffers for

    class Network(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
            until_away = not away.is_set()
            with socket.create_connection(("127.0.0.1", port)) as server:
                threading.Thread(target=self.answer, args=(server,), daemon=True).start()
                lost = 0
                with suppress(ConnectionResetError):
                    while content := self.request.recv(65536):
                        if until_away and away.is_set():
                            back.wait()
                            lost += len(content)
                        else:
                            server.sendall(content)
                if lost:
                    took.append(lost)

        def answer(self, server: socket.socket) -> None:
            with suppress(OSError):
                while content := server.recv(65536):
                    self.request.sendall(content)

    def fill(transport: Any) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)
        transport.write(filling)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Network) as network:
        network.daemon_threads = True
        threading.Thread(target=network.serve_forever, daemon=True).start()
        try:
            with opened(network.server_address[1], tmp_path, TIMEOUT_S) as actuator:
                wait_for(lambda: stands(actuator), "a connection")
                away.set()
                inside: Any = actuator
                inside._loop.call_soon_threadsafe(fill, inside._client.uaclient.protocol.transport)
                with pytest.raises(ActuatorError):
                    actuator.exchange(HOLD, lambda: None)
                with suppress(ActuatorError):  # its server may be slow
                    actuator.read()
                back.set()
                wait_for(lambda: bool(took), "the end of what was given up")
        finally:
            back.set()
            network.shutdown()
    assert took[0] < len(filling) / 2


def test_a_server_that_hangs_up_as_soon_as_it_let_us_in_is_told_in_words(
    gateway: Gateway, port: int, tmp_path: Path
) -> None:
    too_busy = b"ERRF" + (16).to_bytes(4, "little") + ua.StatusCodes.BadTcpServerTooBusy.to_bytes(4, "little")

    class HangsUp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", port)) as server:
                for after in (b"", b"", b"", too_busy + b"\xff" * 4):  # hello, channel, session, login
                    server.sendall(self.request.recv(65536))
                    self.request.sendall(server.recv(65536) + after)

    with socketserver.TCPServer(("127.0.0.1", 0), HangsUp) as hangs_up:
        threading.Thread(target=hangs_up.serve_forever, daemon=True).start()
        try:
            with opened(hangs_up.server_address[1], tmp_path) as actuator, pytest.raises(ActuatorError) as told:
                actuator.read()
        finally:
            hangs_up.shutdown()
    assert "NoneType" not in str(told.value)


def test_who_lets_a_server_go_that_hangs_leaves_no_task_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's log told of a task that was destroyed, each time."""
    left: list[Any] = []
    disconnect = Client.disconnect

    async def slowly(client: Client) -> None:
        await asyncio.sleep(0.3)
        await disconnect(client)

    monkeypatch.setattr(Client, "disconnect", slowly)
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        actuator: Any = open_actuator(LINE, config("opcua", hangs.getsockname()[1], tmp_path, TIMEOUT_S))
        loop = actuator._loop
        monkeypatch.setattr(loop, "close", lambda: (left.extend(asyncio.all_tasks(loop)), type(loop).close(loop)))
        with pytest.raises(ActuatorError):
            actuator.read()
        actuator.close()
        wait_until(loop.is_closed)
    assert left == []


def identity(folder: Path) -> Path:
    """A folder with a certificate and its key."""
    folder.mkdir()
    use = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    names = {"commonName": folder.name}
    made = setup_self_signed_certificate(
        folder / "key.pem", folder / "cert.der", "urn:andon:test", "localhost", use, names
    )
    asyncio.run(made)
    return folder


def test_a_line_with_a_pinned_certificate_believes_no_other_server(port: int, tmp_path: Path) -> None:
    right, wrong, own = (identity(tmp_path / name) for name in ("right", "wrong", "own"))
    pinned = tmp_path / "server.pem"
    url = f"opc.tcp://127.0.0.1:{port}/andon"

    def read(*server: Path) -> ReadBack:
        security = ",".join(map(str, ("Basic256Sha256,SignAndEncrypt", own / "cert.der", own / "key.pem", *server)))
        asked = config("opcua", port, tmp_path).model_copy(update={"security": security})
        actuator = open_actuator(LINE, asked)
        try:
            return actuator.read()
        finally:
            actuator.close()

    gateway = Gateway(port, right)
    try:
        result = CliRunner().invoke(alerting, ["pin", url, "--out", str(pinned)])
        assert result.exit_code == 0, result.output
        assert "SHA-256" in result.output
        assert read(pinned).level == "RUN"
    finally:
        gateway.stop()
    gateway = Gateway(port, wrong)
    try:
        with (
            opened(port, tmp_path) as plain,
            pytest.raises(ActuatorError, match="compare its security with `security` in the policy"),
        ):
            plain.read()
        with pytest.raises(ActuatorError, match="has it the certificate"):
            read(pinned)
        assert read().level == "RUN"  # whoever pins nothing believes this one, too
    finally:
        gateway.stop()
    with pytest.raises(ActuatorError) as refused:
        read(pinned)
    assert "certificate" not in str(refused.value)  # nobody listens there
    nobody = CliRunner().invoke(alerting, ["pin", url, "--out", str(pinned)])
    assert f"{url}: no OPC UA server answers there (Connection refused)." in str(nobody.exception)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (ua.StatusCodes.BadCertificateTimeInvalid, "it goes by its own clock: look at that"),
        (ua.StatusCodes.BadCertificateUriInvalid, "our own certificate has to name an application URI"),
        (ua.StatusCodes.BadCertificateUntrusted, "does it trust ours"),
    ],
)
def test_why_a_server_refuses_our_certificate_is_said_in_words(
    status: int, told: str, port: int, tmp_path: Path
) -> None:
    """A PLC whose battery is dead begins in 1970, and calls every certificate not yet valid: people were sent to look
    which one it trusts."""
    theirs, own = (identity(tmp_path / name) for name in ("theirs", "own"))
    gateway = Gateway(port, theirs, refuses=status)
    named = own / "cert.der", own / "key.pem", theirs / "cert.der"
    security = ",".join(["Basic256Sha256,SignAndEncrypt", *map(str, named)])
    actuator = open_actuator(LINE, config("opcua", port, tmp_path).model_copy(update={"security": security}))
    try:
        with pytest.raises(ActuatorError, match=told):
            actuator.read()
    finally:
        actuator.close()
        gateway.stop()


@pytest.mark.parametrize(("kind", "most"), [("SByte", 127), ("Byte", 255), ("Int16", 32767), ("UInt16", 65535)])
def test_a_heartbeat_goes_round_where_its_node_ends(kind: str, most: int, port: int, tmp_path: Path) -> None:
    """In an INT, which has a sign, it could not be written any more after 32767, and with it no stop: for good, as each
    write is of all signals, and after four and a half hours in which all was well."""
    gateway = Gateway(port, Heartbeat=kind)
    try:
        with opened(port, tmp_path) as actuator:
            beats = [replace(HOLD, heartbeat=number) for number in (most, (most + 1) % 65536, 65535, 0)]
            assert [actuator.exchange(beat, lambda: None).heartbeat for beat in beats] == [most, 0, most, 0]
    finally:
        gateway.stop()


def test_codes_that_the_command_node_can_not_hold_are_told_before_the_first_stop(port: int, tmp_path: Path) -> None:
    gateway = Gateway(port, Command="Byte")
    try:
        found = config("opcua", port, tmp_path)
        assert isinstance(found, OpcUaConfig)
        actuator = open_actuator(LINE, found.model_copy(update={"codes": Codes(HOLD=300)}))
        with pytest.raises(ActuatorError, match="holds numbers up to 255, and `codes` in the policy has a higher one"):
            actuator.exchange(replace(HOLD, action=None, run_permit=True), lambda: None)
        actuator.close()
    finally:
        gateway.stop()


def test_an_epoch_that_its_node_will_not_hold_is_told_of_before_and_then(
    port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It counts takeovers. Past the last that fits no stop could be written any more, and the alarm spoke of a format
    that Python has."""
    gateway = Gateway(port, Epoch="Int16")
    try:
        with opened(port, tmp_path) as actuator:
            assert actuator.exchange(replace(HOLD, epoch=32767), lambda: None).epoch == 32767
            assert "Epoch holds numbers up to 32767, and an epoch counts takeovers" in caplog.text
            with pytest.raises(ActuatorError, match="up to 32767, and this is takeover 32768 of its line"):
                actuator.exchange(replace(HOLD, epoch=32768), lambda: None)
    finally:
        gateway.stop()
