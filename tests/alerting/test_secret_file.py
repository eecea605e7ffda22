"""A password may be changed while a worker runs."""

import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from alerting.plc_peers import LINE, wait_for
from cryptography.hazmat.primitives.serialization import Encoding
from support.certificates import signed

from pipeline.boot_time import boot_time_s
from pipeline.files.secret_file import SecretFile
from pipeline.kafka.lease import Lease
from workers.alerting.actuators import mqtt
from workers.alerting.actuators.base import ActuatorError
from workers.alerting.actuators.config import MqttConfig, WebhookConfig
from workers.alerting.actuators.open import open_actuator
from workers.alerting.core.reports import Link, Report
from workers.alerting.core.state import LineState
from workers.alerting.plcs.plant import Plant
from workers.alerting.policy import Policies
from workers.local.ports import free_ports
from workers.plc.ladder import Ladder
from workers.plc.message_sides import WebhookGateway

pytestmark = pytest.mark.unit


def test_a_changed_secret_is_the_one_to_use(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("old\n")
    secret = SecretFile(tmp_path / "secret")
    (tmp_path / "secret").write_text("new\n")
    assert secret.as_of_now() == b"new"


@pytest.mark.parametrize("left", [None, ""])
def test_a_secret_that_is_just_being_replaced_is_what_it_was(left: str | None, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("old")
    secret = SecretFile(file)
    file.unlink() if left is None else file.write_text(left)
    assert secret.as_of_now() == b"old"


def test_text_that_is_just_being_replaced_is_what_it_was(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"\xff\xfe")
    secret = SecretFile(file)
    with pytest.raises(OSError, match=r"what lies in .*password is no text"):
        secret.text_as_of_now()
    for written, expected in ((b"old", "old"), (b"\xff\xfe", "old"), (b"new\n", "new")):
        file.write_bytes(written)
        assert secret.text_as_of_now() == expected


def test_a_webhook_signs_with_the_changed_secret(tmp_path: Path) -> None:
    file, (port,) = tmp_path / "secret", free_ports(1)
    file.write_text("old")
    gateway = WebhookGateway({LINE: Ladder(LINE)}, "127.0.0.1", port, b"new")
    try:
        url = f"http://127.0.0.1:{port}/{LINE}"
        actuator = open_actuator(LINE, WebhookConfig(type="webhook", url=url, secret_file=file))
        with pytest.raises(ActuatorError, match="401"):
            actuator.read()
        file.write_text("new")
        assert actuator.read().stop is False
    finally:
        gateway.stop()


def test_a_line_whose_secret_is_not_there_yet_is_a_fault_of_its_plc_alone(tmp_path: Path) -> None:
    """The worker ended, and so did each successor: no line of the plant was watched."""
    file, (port,) = tmp_path / "secret", free_ports(1)
    actuator = {"type": "webhook", "url": f"http://127.0.0.1:{port}/{LINE}", "secret_file": file, "cycle_s": 0.1}
    line = {"actuator": actuator, "on_loss": "hold-on-loss"}
    policies = Policies.model_validate({"defaults": {"k": 1, "n": 1, "action": "HOLD"}, "lines": {LINE: line}})
    lease, told = Lease(60), list[Report]()
    lease.renew(boot_time_s())
    gateway, plant = WebhookGateway({LINE: Ladder(LINE)}, "127.0.0.1", port, b"new"), Plant(policies, lease)

    def heard(up: bool) -> bool:
        told.extend(plant.reports([LINE]))
        return bool(told) and isinstance(told[-1], Link) and told[-1].up is up

    try:
        plant.hold_only([LINE])
        plant.order(LineState(line_id=LINE, epoch=1))
        plant.alive(LINE, True, 60)
        wait_for(lambda: heard(False), "the alarm")
        assert str(file) in told[-1].detail
        file.write_text("new")
        wait_for(lambda: heard(True), "its end")
    finally:
        plant.close()
        gateway.stop()


def test_a_broker_is_shown_the_changed_password_by_the_next_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that hangs up on everybody."""
    monkeypatch.setattr(mqtt, "CONNECT_S", 0.5)
    shown: list[bytes] = []

    def refuse() -> None:
        with suppress(OSError):
            while True:
                with server.accept()[0] as peer:
                    shown.append(peer.recv(4096))

    file = tmp_path / "password"
    file.write_text("old-one")
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=refuse, daemon=True).start()
    place = {"host": "127.0.0.1", "port": server.getsockname()[1], "topic": "t"}
    config = MqttConfig.model_validate({"type": "mqtt", "user": "u", "password_file": file, **place})
    actuator = open_actuator(LINE, config)
    for password in ("old-one", "new-one"):
        file.write_text(password)
        with pytest.raises(ActuatorError):
            actuator.read()
        assert password.encode() in shown[-1]
    server.close()


def test_a_broker_s_authority_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    """All that the alarm of the PLC said was 'No such file or directory'."""
    file = tmp_path / "ca.pem"
    file.write_bytes(signed()[0].public_bytes(Encoding.PEM))
    place = {"type": "mqtt", "host": "127.0.0.1", "port": free_ports(1)[0], "topic": "t", "ca_file": file}
    actuator = open_actuator(LINE, MqttConfig.model_validate(place))
    file.write_text("half of it")
    with pytest.raises(ActuatorError, match=rf"ca_file: cannot read {file} \(.*no certificate.*\): put it"):
        actuator.read()
    file.unlink()
    with pytest.raises(ActuatorError, match=rf"ca_file: cannot read {file} \(No such file or directory\): put it"):
        actuator.read()
