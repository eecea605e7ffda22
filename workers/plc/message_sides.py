"""The ladders behind MQTT and HTTP, as a gateway at the line would stand before a PLC that speaks neither."""

import hmac
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from workers.alerting.actuators.webhook import sign
from workers.plc.ladder import LEVELS, Inputs, Ladder

SIGNATURE_VALID_S = 30
MAX_BODY_BYTES = 64 * 1024


Wire = Callable[[str, bool], bool]


def answer(ladder: Ladder, message: Mapping[str, Any], wire: Wire) -> dict[str, Any]:
    """Writes what is desired and not void, and tells how the line stands. wire: between the meaning of a signal and
    its bit."""
    desired = message.get("desired")
    expires_at = desired and desired.get("expires_at")
    if desired and not (expires_at and datetime.now(UTC) > datetime.fromisoformat(expires_at)):
        level = LEVELS.index(desired["level"])
        permit = wire("run_permit", desired["run_permit"])
        ladder.write(Inputs(desired["epoch"], desired["heartbeat"], level, permit))
    ladder.scan()
    return {
        "ask": message["ask"],
        "level": ladder.inputs.level,
        "epoch": ladder.inputs.epoch,
        "heartbeat": ladder.inputs.heartbeat,
        "stop": wire("stop", ladder.stop),
        "run_permit": wire("run_permit", ladder.permit),
        "reject": wire("reject", ladder.reject),
        "held": wire("held", ladder.held),
    }


_NO_MESSAGE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What `answer` raises for what somebody wrote who is not alerting."""


class MqttGateway:
    """Follows `andon/{line}/desired` and `…/question`, answers to `…/state`. Reconnects by itself."""

    def __init__(self, ladders: Mapping[str, Ladder], host: str, port: int) -> None:
        self.links: dict[str, str] = {}
        """Line → what its `link` topic says."""
        self._ladders = ladders
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="andon-plc", clean_session=True)
        self._client.reconnect_delay_set(1, 2)
        self._client.on_connect = self._subscribe
        self._client.on_message = self._take
        self._client.connect(host, port, 10)
        self._client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _subscribe(self, client: paho.Client, *_: Any) -> None:
        client.subscribe([(f"andon/+/{name}", 1) for name in ("desired", "question", "link")])

    def _take(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        line_id, name = message.topic.split("/")[-2:]
        if name == "link":
            self.links[line_id] = message.payload.decode(errors="replace")
        elif ladder := self._ladders.get(line_id):
            # Anybody may write to a topic: what can't be read is no order, and must not end the thread that reads.
            with suppress(*_NO_MESSAGE):
                told = answer(ladder, json.loads(message.payload), ladder.wire)
                client.publish(f"andon/{line_id}/state", json.dumps(told), 1)


class WebhookGateway:
    """POST /{line}; refuses what is not signed with the secret, or was signed long ago."""

    def __init__(self, ladders: Mapping[str, Ladder], host: str, port: int, secret: bytes) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "")
                if not length.isdecimal():
                    self.send_error(411)
                    return
                body = self.rfile.read(min(int(length), MAX_BODY_BYTES))
                ladder = ladders.get(self.path.strip("/"))
                if not _signed(body, self.headers.get("Andon-Signature", ""), secret):
                    self.send_error(401)
                elif ladder is None:
                    self.send_error(404)
                else:
                    self._answer(ladder, body)

            def _answer(self, ladder: Ladder, body: bytes) -> None:
                try:
                    told = json.dumps(answer(ladder, json.loads(body), _meaning)).encode()
                except _NO_MESSAGE as error:
                    self.send_error(400, explain=f"{type(error).__name__}: {error}")
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def log_message(self, format: str, *args: Any) -> None:
                """The live view tells what matters."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        threading.Thread(target=self._server.serve_forever, name="webhook", daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _meaning(signal: str, value: bool) -> bool:
    """A signed message says what it means, however the line is wired."""
    return value


def _signed(body: bytes, header: str, secret: bytes) -> bool:
    try:
        at_s = int(dict(part.split("=", 1) for part in header.split(","))["t"])
    except (KeyError, ValueError):
        return False
    return abs(time.time() - at_s) <= SIGNATURE_VALID_S and hmac.compare_digest(header, sign(body, secret, at_s))
