"""The level as a JSON message, for MQTT and webhooks, and the answer that both expect."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workers.alerting.actuators.base import ActuatorError, Image, ReadBack, on_wire

MAX_ANSWER_BYTES = 64 * 1024


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")

    ask: str
    line_id: str | None = None
    level: str = Field(max_length=64)
    epoch: int = Field(ge=0, lt=1 << 32)
    """As many bits as a Modbus block has. A higher one is garbled, and would fence this worker out of its line."""
    heartbeat: int | None = None
    stop: bool | None = None
    run_permit: bool | None = None
    reject: bool | None = None
    held: bool | None = None


def to_message(line_id: str, image: Image | None, ask: str, inverted: Collection[str] = ()) -> bytes:
    """`ask` names this one exchange; the answer repeats it. Without an image the peer only tells how things stand."""
    message: dict[str, Any] = {"schema_version": 1, "line_id": line_id, "ask": ask}
    if image is not None:
        message["desired"] = {
            "level": image.level,
            **{name: on_wire(name, getattr(image, name), inverted) for name in ("stop", "run_permit", "reject")},
            "epoch": image.epoch,
            "heartbeat": image.heartbeat,
            "command_id": image.command_id,
            "expires_at": image.void_after.isoformat(timespec="milliseconds") if image.void_after else None,
        }
    return json.dumps(message, sort_keys=True).encode()


def asked(value: bytes) -> str | None:
    """Which exchange a message answers. None, too, for what is no answer: anybody may write to a topic, and what can't
    be read must not end the thread that reads."""
    if len(value) > MAX_ANSWER_BYTES:
        return None
    try:
        content = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return content.get("ask") if isinstance(content, dict) else None


def read_back(value: bytes, ask: str, line_id: str) -> ReadBack:
    """Raises ActuatorError for anything but the answer to this exchange, of this line."""
    try:
        answer = _Answer.model_validate_json(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        why = ": ".join([*map(str, first["loc"]), first["msg"]])
        raise ActuatorError(f"answered otherwise than agreed: {why}") from error
    if answer.ask != ask:
        raise ActuatorError("answered something that was not asked")
    if answer.line_id not in (None, line_id):
        raise ActuatorError(f"answered for line {answer.line_id[:64]!r}, which proves nothing of {line_id!r}")
    if answer.stop is None and answer.run_permit is None:
        # The level alone may be no more than what it was sent; null is how a gateway says that it has lost its PLC.
        raise ActuatorError("answered with neither stop nor run_permit, so nothing was read back")
    return ReadBack(**answer.model_dump(exclude={"ask", "line_id"}))
