"""MQTT 3.1.1 by paho: QoS 1 both ways, and a will that tells when Andon is lost.

A broker's acknowledgement proves that the broker has the message, not that the line stands: so each exchange waits for
the gateway at the line to answer with what it reads there.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from pipeline.files.secret_file import SecretFile
from pipeline.unsent import FORGET_UNSENT
from workers.alerting.actuators.base import ActuatorError, GivesWay, Guard, Image, ReadBack, never, read_until
from workers.alerting.actuators.config import MqttConfig
from workers.alerting.actuators.messages import asked, read_back, to_message
from workers.alerting.actuators.names import Name

QOS = 1
KEEPALIVE_S = 10
CONNECT_S = 3.0
ONLINE_EVERY_S = KEEPALIVE_S
"""The will of a connection that died without a word comes up to 15 s later, over what its successor has said."""


class _Client(paho.Client):
    name: Name

    def _create_socket_connection(self) -> socket.socket:
        """There is no public way to give it an address, and the name that a certificate is asked for."""
        return self.name.connected(self.port, self.connect_timeout)


class MqttActuator:
    def __init__(self, line_id: str, config: MqttConfig) -> None:
        """Raises OSError when a password can't be read, ActuatorError when the broker's authority can't."""
        self._line_id = line_id
        self._config = config
        self._name = Name(config.host)
        self._password = SecretFile(config.password_file) if config.password_file else None
        if config.ca_file:
            _believing(config.ca_file)
        self._client_id = f"andon-{line_id}-{secrets.token_hex(4)}"
        """One for all connections: what the broker keeps of the last one ends, and tells its will, with the next."""
        self._client: paho.Client | None = None
        self._online_at_s = 0.0
        self._answered = threading.Event()
        """By the broker: it took the subscription, or `_refusal` says why not."""
        self._greeted = False
        self._answer = threading.Condition()
        self._waiting_for: str | None = None
        self._value: bytes | None = None
        self._refusal = ""

    @property
    def address(self) -> str:
        return self._config.address

    def read(self, gives_way: GivesWay = never) -> ReadBack:
        return self._ask(None, lambda: None)

    def exchange(self, image: Image, guard: Guard, gives_way: GivesWay = never) -> ReadBack:
        return read_until(self.read, image, self._config.timeout_s, self._ask(image, guard))

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            # In good order: the broker then sends no will, so we say it.
            client.publish(f"{self._config.topic}/link", b"offline", QOS, retain=True)
            client.disconnect()
            client.loop_stop()

    def _ask(self, image: Image | None, guard: Guard) -> ReadBack:
        try:
            client = self._connected()
            ask = secrets.token_hex(8)
            with self._answer:
                self._waiting_for, self._value = ask, None
            if time.monotonic() - self._online_at_s > ONLINE_EVERY_S:
                self._say_online(client)
            guard()
            topic = "desired" if image else "question"
            message = to_message(self._line_id, image, ask, self._config.inverted)
            # The level is retained for a gateway that comes back. Not a stop that is still to be confirmed: the broker
            # would hand it over when it is void, and the line be stopped for parts long gone.
            retain = image is not None and image.void_after is None
            sent = client.publish(f"{self._config.topic}/{topic}", message, QOS, retain=retain)
            if sent.rc != paho.MQTT_ERR_SUCCESS:
                raise ActuatorError(paho.error_string(sent.rc))
            with self._answer:
                self._answer.wait_for(lambda: self._value is not None, self._config.timeout_s)
                value = self._value
            if value is None:
                raise ActuatorError(f"the gateway did not answer in {self._config.timeout_s:g} s")
            return read_back(value, ask, self._line_id).turned(self._config.inverted)
        except (OSError, ValueError, RuntimeError) as error:
            self._drop()
            raise ActuatorError(str(error) or type(error).__name__) from error
        except ActuatorError:
            self._drop()
            raise

    def _connected(self) -> paho.Client:
        if self._client is None:
            config = self._config
            client = _Client(
                CallbackAPIVersion.VERSION2,
                client_id=self._client_id,
                clean_session=True,
                reconnect_on_failure=False,  # we do, and who ends would wait for a look-up of its thread
            )
            client.connect_timeout = min(CONNECT_S, config.timeout_s)
            client.name = self._name
            if config.user:
                client.username_pw_set(config.user, self._password.text_as_of_now() if self._password else None)
            if config.ca_file:
                client.tls_set_context(_believing(config.ca_file))
            client.will_set(f"{config.topic}/link", b"offline", QOS, retain=True)
            client.on_connect = self._on_connect
            client.on_subscribe = self._on_subscribe
            client.on_message = self._on_message
            self._answered.clear()
            self._refusal, self._greeted = "", False
            self._client = client
            try:
                client.connect(config.host, config.port, KEEPALIVE_S)
            except (ssl.SSLError, TimeoutError, ConnectionResetError) as error:
                if config.ca_file and _is_no_tls(error):
                    raise ActuatorError(
                        f"no TLS with the broker at {config.host}:{config.port} ({error}): `ca_file` asks for it. Does "
                        "it speak TLS at this port? As a rule 8883 does, and 1883 does not"
                    ) from error
                raise
            client.loop_start()
            if not self._answered.wait(CONNECT_S):
                if self._greeted:
                    raise ActuatorError("the broker did not take the subscription")
                tls = "" if config.ca_file else ". Where it speaks TLS there, name its authority as `ca_file`"
                raise ActuatorError(f"what listens at {config.host}:{config.port} does not answer as a broker{tls}")
            if self._refusal:
                raise ActuatorError(self._refusal)
        return self._client

    def _drop(self) -> None:
        """Without a farewell: it might hang. What was queued is not sent later, when it may be void."""
        client, self._client = self._client, None
        if client is not None:
            sock: Any = client.socket()
            if sock:
                with suppress(OSError):  # its thread may close it meanwhile
                    sock.setsockopt(*FORGET_UNSENT)
            client._sock_close()  # there is no public way that does not wait for the peer
            client.disconnect()
            client.loop_stop()

    def _on_connect(self, client: paho.Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refusal = f"the broker refused: {reason}"
            self._answered.set()
            return
        self._greeted = True
        client.subscribe(f"{self._config.topic}/state", QOS)

    def _on_subscribe(self, client: paho.Client, data: Any, mid: int, reasons: Any, properties: Any) -> None:
        if reasons[0].is_failure:
            self._refusal = f"the broker lets Andon not subscribe to {self._config.topic}/state: {reasons[0]}"
        else:
            self._say_online(client)
        self._answered.set()

    def _say_online(self, client: paho.Client) -> None:
        client.publish(f"{self._config.topic}/link", b"online", QOS, retain=True)
        self._online_at_s = time.monotonic()

    def _on_message(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        with self._answer:
            value = bytes(message.payload)
            if asked(value) == self._waiting_for:
                self._value = value
                self._answer.notify()


def _is_no_tls(error: OSError) -> bool:
    """Whether the peer was reached, and did not greet. One that wants another certificate, version or cipher does speak
    TLS, and says so itself."""
    if isinstance(error, TimeoutError):
        return "handshake" in str(error)
    if isinstance(error, ssl.SSLError):
        return isinstance(error, ssl.SSLEOFError) or error.reason == "WRONG_VERSION_NUMBER"
    return isinstance(error, ConnectionResetError)


def _believing(ca_file: Path) -> ssl.SSLContext:
    """Whoever shows a certificate of this authority. Raises ActuatorError, with the file, which ssl does not name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:
        raise ActuatorError(
            f"ca_file: cannot read {ca_file} ({error.strerror or error}): put it there, readable for the user of this "
            "process, or name another file"
        ) from error
    return context
