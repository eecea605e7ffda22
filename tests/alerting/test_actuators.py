"""What every actuator owes, against each protocol's own real server."""

import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from alerting.plc_peers import (
    FENCED,
    LINE,
    PROTOCOLS,
    TIMEOUT_S,
    Peer,
    config,
    running_peer,
    secret_file,
    start_broker,
    wait_for,
)
from paho.mqtt.enums import CallbackAPIVersion
from support.certificates import Signed, signed, written

from pipeline.events import Action
from workers.alerting.actuators import mqtt
from workers.alerting.actuators.base import Actuator, ActuatorError, Image, LeaseLostError, ReadBack, matches
from workers.alerting.actuators.open import open_actuator
from workers.local.ports import free_ports
from workers.plc.ladder import Ladder
from workers.plc.message_sides import MqttGateway
from workers.plc.sides import Sides

pytestmark = pytest.mark.services

HOLD = Image(epoch=70_000, heartbeat=7, action=Action.HOLD, run_permit=False, command_id="c")
REJECT = Image(epoch=70_000, heartbeat=8, action=Action.REJECT, run_permit=True)
RUN = Image(epoch=70_000, heartbeat=9, action=None, run_permit=True)


@pytest.fixture(scope="module", params=PROTOCOLS)
def peer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with running_peer(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture
def actuator(peer: Peer) -> Iterator[Actuator]:
    opened = peer.actuator()
    yield opened
    opened.close()


def write(actuator: Actuator, image: Image) -> ReadBack:
    return actuator.exchange(image, lambda: None)


def is_refused(actuator: Actuator) -> None:
    with pytest.raises(ActuatorError):
        write(actuator, HOLD)


def until_good(actuator: Actuator, image: Image) -> ReadBack:
    found: list[ReadBack] = []

    def good() -> bool:
        try:
            found.append(write(actuator, image))
        except ActuatorError:
            return False
        return matches(image, found[-1])

    wait_for(good, f"{image.level} at {actuator.address}")
    return found[-1]


def test_a_level_is_written_and_read_back_and_a_repeat_changes_nothing(actuator: Actuator) -> None:
    for image in (RUN, HOLD, HOLD, REJECT, RUN):
        found = write(actuator, image)
        assert matches(image, found), found
    assert found.held is True  # the PLC's own latch: taking the level back starts nothing


def test_looking_writes_nothing(actuator: Actuator) -> None:
    before = write(actuator, HOLD)
    assert actuator.read() == before
    assert actuator.read() == before


def test_nothing_is_written_once_the_lease_is_lost(actuator: Actuator) -> None:
    write(actuator, RUN)

    def lost() -> None:
        raise LeaseLostError

    with pytest.raises(LeaseLostError):
        actuator.exchange(HOLD, lost)
    assert matches(RUN, write(actuator, RUN))


def test_an_old_epoch_is_refused_by_the_plc_and_shows(peer: Peer, actuator: Actuator) -> None:
    if peer.protocol not in FENCED:
        pytest.skip("plain coils have nowhere to put an epoch; docs/plc.md says so")
    write(actuator, HOLD)  # whose coil proves that the PLC's program has seen the epoch, as RUN does not
    write(actuator, RUN)
    old = Image(epoch=69_999, heartbeat=1, action=Action.HOLD, run_permit=False)
    found = write(actuator, old)
    assert found.epoch == 70_000
    assert not found.stop
    assert matches(RUN, actuator.read())


def test_a_peer_that_hangs_dies_and_comes_back(peer: Peer, request: pytest.FixtureRequest) -> None:
    actuator = peer.actuator(TIMEOUT_S)
    request.addfinalizer(actuator.close)
    until_good(actuator, HOLD)
    assert peer.plc
    peer.plc.pause()
    for _ in range(2):
        is_refused(actuator)
    peer.plc.resume()
    until_good(actuator, HOLD)
    peer.kill()
    for _ in range(2):
        is_refused(actuator)
    peer.start()
    until_good(actuator, HOLD)


def test_what_a_peer_has_not_taken_is_sent_no_more_once_it_was_given_up(peer: Peer) -> None:
    """The system goes on sending for minutes: after 14 s without a network a HOLD that was long void stopped its line,
    13 s after the line had confirmed RUN. That a reset ends the connection is what shows of it on one machine."""
    away, ends = threading.Event(), list[str]()

    class Network(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", peer.port)) as server:
                threading.Thread(target=self.answer, args=(server,), daemon=True).start()
                try:
                    while content := self.request.recv(65536):
                        if not away.is_set():
                            server.sendall(content)
                    ends.append("closed")
                except ConnectionResetError:
                    ends.append("given up" if away.is_set() else "reset")

        def answer(self, server: socket.socket) -> None:
            with suppress(OSError):
                while content := server.recv(65536):
                    self.request.sendall(content)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Network) as network:
        network.daemon_threads = True
        threading.Thread(target=network.serve_forever, daemon=True).start()
        through = config(peer.protocol, network.server_address[1], peer.folder, TIMEOUT_S)
        try:
            with closing(open_actuator(LINE, through)) as actuator:
                until_good(actuator, RUN)
                away.set()
                is_refused(actuator)
                wait_for(lambda: "given up" in ends, "a connection that is given up")
        finally:
            network.shutdown()


@pytest.mark.parametrize("protocol", ["modbus", "opcua", "mqtt", "webhook"])
def test_a_peer_that_answers_garbage_is_an_error_within_the_time(protocol: str, tmp_path: Path) -> None:
    class Garbage(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                while self.request.recv(4096):
                    self.request.sendall(b"\x00\x01HTTP/9 200 no such thing\r\n\r\n{}")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Garbage) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        actuator = open_actuator("line-1", config(protocol, server.server_address[1], tmp_path, TIMEOUT_S))
        is_refused(actuator)
        actuator.close()
        server.shutdown()


def test_the_will_of_a_dead_connection_does_not_leave_a_line_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker tells it when it misses the connection, which may be long after the next one has said `online`."""
    monkeypatch.setattr(mqtt, "ONLINE_EVERY_S", 0.5)
    (port,) = free_ports(1)
    with ExitStack() as ends:
        ends.callback(start_broker(tmp_path, port).stop, 5)
        gateway = MqttGateway({LINE: Ladder(LINE)}, "127.0.0.1", port)
        ends.callback(gateway.stop)
        dead = paho.Client(CallbackAPIVersion.VERSION2, client_id="a-worker-that-was-lost")
        dead.will_set(f"andon/{LINE}/link", b"offline", 1, retain=True)
        dead.connect("127.0.0.1", port)
        dead.loop(1)
        actuator = open_actuator(LINE, config("mqtt", port, tmp_path))
        ends.callback(actuator.close)
        until_good(actuator, RUN)
        wait_for(lambda: gateway.links.get(LINE) == "online", "the first word")
        dead._sock_close()  # without a farewell
        wait_for(lambda: gateway.links.get(LINE) == "offline", "the will")
        wait_for(lambda: bool(until_good(actuator, RUN)) and gateway.links[LINE] == "online", "the truth")


def test_a_garbled_message_in_its_topics_makes_the_simulated_gateway_deaf_to_nobody(tmp_path: Path) -> None:
    """One had ended its only thread: from then on no stop was answered."""
    (port,) = free_ports(1)
    with ExitStack() as ends:
        ends.callback(start_broker(tmp_path, port).stop, 5)
        ends.callback(MqttGateway({LINE: Ladder(LINE)}, "127.0.0.1", port).stop)
        anybody = paho.Client(CallbackAPIVersion.VERSION2)
        anybody.connect("127.0.0.1", port)
        anybody.loop_start()
        ends.callback(anybody.loop_stop)
        desired = {"level": "RUN", "run_permit": True, "heartbeat": 1}
        ill = [{}, [], {"ask": "x", "desired": desired}, {"ask": "x", "desired": desired | {"epoch": "9"}}]
        for garbled in (b"\xff", *(json.dumps(one).encode() for one in ill)):
            anybody.publish(f"andon/{LINE}/desired", garbled, 1).wait_for_publish(5)
        anybody.publish(f"andon/{LINE}/link", b"\xff", 1).wait_for_publish(5)
        actuator = open_actuator(LINE, config("mqtt", port, tmp_path))
        ends.callback(actuator.close)
        until_good(actuator, HOLD)


@pytest.mark.parametrize(
    ("anonymous", "plugin", "told"),
    [
        (False, "", "the broker refused"),
        (
            True,
            "  amqtt.plugins.topic_checking.TopicAccessControlListPlugin:\n    acl: {anonymous: [other]}\n",
            f"not subscribe to andon/{LINE}/state",
        ),
    ],
)
def test_a_broker_that_refuses_is_told_of_at_once_and_not_taken_for_a_silent_gateway(
    tmp_path: Path, anonymous: bool, plugin: str, told: str
) -> None:
    (port,) = free_ports(1)
    with ExitStack() as ends:
        ends.callback(start_broker(tmp_path, port, anonymous=anonymous, plugin=plugin).stop, 5)
        actuator = open_actuator(LINE, config("mqtt", port, tmp_path))
        ends.callback(actuator.close)
        with pytest.raises(ActuatorError, match=told):
            write(actuator, HOLD)


def test_a_broker_is_believed_by_its_authority_alone(tmp_path: Path) -> None:
    plain, tls = free_ports(2)
    authority = signed()
    shown, key = written(tmp_path, "broker", signed(authority))
    listener = (
        f"  tls:\n    type: tcp\n    bind: 127.0.0.1:{tls}\n    ssl: true\n    certfile: {shown}\n    keyfile: {key}\n"
    )
    with ExitStack() as ends:
        ends.callback(start_broker(tmp_path, plain, listener=listener).stop, 5)
        ends.callback(MqttGateway({LINE: Ladder(LINE)}, "127.0.0.1", plain).stop)

        def believing(whom: Signed | None, port: int = tls) -> Actuator:
            file = whom and written(tmp_path, "authority", whom)[0]
            asked = config("mqtt", port, tmp_path, timeout_s=5).model_copy(update={"ca_file": file})
            actuator = open_actuator(LINE, asked)
            ends.callback(actuator.close)
            return actuator

        until_good(believing(authority), HOLD)
        with pytest.raises(ActuatorError, match="certificate verify failed"):
            write(believing(signed()), RUN)
        with pytest.raises(ActuatorError, match=f"no TLS with the broker at 127.0.0.1:{plain} .* 8883"):
            write(believing(authority, plain), RUN)
        with pytest.raises(ActuatorError, match=f"127.0.0.1:{tls} does not answer as a broker.* `ca_file`"):
            write(believing(None), RUN)


def test_a_broker_that_speaks_tls_and_refuses_andons_is_not_told_as_one_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads 'does it speak TLS?' looks at the port, where a certificate of Andon's is what is missing."""
    monkeypatch.setattr(mqtt, "CONNECT_S", 10)  # bounds the handshake: a busy machine may take longer
    authority = signed()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*written(tmp_path, "broker", signed(authority)))
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # by 1.3 a client hears of it after its handshake
    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as ends:

        def greet() -> None:
            one = context.wrap_socket(listening.accept()[0], server_side=True, do_handshake_on_connect=False)
            ends.callback(one.close)  # not before it was heard
            with suppress(OSError):
                one.do_handshake()

        greeting = threading.Thread(target=greet, daemon=True)
        greeting.start()
        asked = config("mqtt", listening.getsockname()[1], tmp_path, timeout_s=10)
        file = written(tmp_path, "authority", authority)[0]
        actuator = open_actuator(LINE, asked.model_copy(update={"ca_file": file}))
        ends.callback(actuator.close)
        with pytest.raises(ActuatorError) as told:
            write(actuator, RUN)
        greeting.join()
    assert "handshake failure" in str(told.value)
    assert "no TLS" not in str(told.value)


def test_a_broker_without_tls_that_resets_is_not_told_of_a_file_that_nobody_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reset(_: object) -> socket.socket:  # no peer can be made to do this as it is connected to
        raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(mqtt._Client, "_create_socket_connection", reset)
    actuator = open_actuator(LINE, config("mqtt", 1, tmp_path))
    with pytest.raises(ActuatorError, match=r"^reset by peer$"):
        write(actuator, RUN)


def test_a_broker_that_hangs_up_while_it_is_given_up_is_an_error_as_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        pass
    monkeypatch.setattr(mqtt, "CONNECT_S", 0.1)
    monkeypatch.setattr(mqtt._Client, "socket", lambda _: closed)  # no peer can be made to hang up in this moment
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        actuator = open_actuator(LINE, config("mqtt", hangs.getsockname()[1], tmp_path, TIMEOUT_S))
        is_refused(actuator)
        actuator.close()


@pytest.mark.parametrize(("protocol", "missing"), [("modbus", "0 registers of 5"), ("coils", "without the coil 0")])
def test_a_modbus_device_that_answers_with_less_than_was_asked_is_told_so(
    protocol: str, missing: str, tmp_path: Path
) -> None:
    class Short(socketserver.BaseRequestHandler):
        """Takes each write, and answers each read with no value at all."""

        def handle(self) -> None:
            with suppress(OSError):
                while request := self.request.recv(260):
                    function = request[7]
                    pdu = request[7:12] if function > 4 else bytes([function, 0])
                    self.request.sendall(request[:4] + bytes([0, len(pdu) + 1]) + request[6:7] + pdu)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Short) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        actuator = open_actuator(LINE, config(protocol, server.server_address[1], tmp_path))
        with pytest.raises(ActuatorError, match=missing):
            write(actuator, HOLD)
        actuator.close()
        server.shutdown()


def test_a_modbus_device_that_answers_as_another_unit_proves_nothing(tmp_path: Path) -> None:
    class Odd(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                while request := self.request.recv(260):
                    self.request.sendall(request[:4] + bytes([0, 6, 7]) + request[7:12])

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Odd) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        actuator = open_actuator(LINE, config("modbus", server.server_address[1], tmp_path, TIMEOUT_S))
        with pytest.raises(ActuatorError, match="no answer of unit 1 in"):
            write(actuator, HOLD)
        actuator.close()
        server.shutdown()


@pytest.mark.parametrize("protocol", ["modbus", "opcua", "mqtt", "webhook"])
def test_a_peer_that_takes_everything_and_does_nothing_is_found_out(protocol: str, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    ports = {"modbus_port": None, "opcua_port": None, "mqtt": None, "webhook_port": None}
    ports |= {"mqtt": f"127.0.0.1:{port}"} if protocol == "mqtt" else {f"{protocol}_port": port}
    with ExitStack() as open_:
        if protocol == "mqtt":
            broker = start_broker(tmp_path, port)
            open_.callback(broker.stop, 5)
        ladder = Ladder(LINE, stuck=True)
        open_.enter_context(Sides([ladder], "127.0.0.1", webhook_secret=secret_file(tmp_path), **ports))
        actuator = open_actuator(LINE, config(protocol, port, tmp_path, timeout_s=1))
        open_.callback(actuator.close)
        found = until_answered(actuator)
    assert not matches(HOLD, found)
    assert found.stop is False


def until_answered(actuator: Actuator) -> ReadBack:
    found: list[ReadBack] = []

    def answered() -> bool:
        with suppress(ActuatorError):  # a gateway that has just started may still be subscribing
            found.append(write(actuator, HOLD))
        return bool(found)

    wait_for(answered, "an answer")
    return found[0]
