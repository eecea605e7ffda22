"""The JSON Schemas of the wire contracts, for subscribers in any language."""

import json
from typing import Any

from pipeline.events import EVENTS, SCHEMA_VERSION, Frame

_WHERE = {
    "Frame": "Kafka headers of a record in `frames`, all UTF-8 text. "
    "The key is camera_id, the value the encoded image.",
    "Score": "Topic `scores`, key line_id.",
    "Alarm": "Topic `alarms`, key line_id.",
    "LineCommand": "Topics `line-commands` and `shadow-commands`, key line_id. All in the latter are simulated.",
    "CommandReply": "Topic `command-replies`, key line_id.",
    "Operation": "Topic `operations`, key line_id.",
    "AuditEntry": "Topic `audit-log`, key line_id.",
    "Heartbeat": "Topic `heartbeats`, key camera_id:boot_id.",
}


def schemas() -> dict[str, str]:
    """File name → JSON Schema text, one for each contract."""
    files = {}
    for event in EVENTS:
        schema = _header_schema() if event is Frame else event.model_json_schema(mode="serialization")
        schema |= {"$comment": _WHERE[event.__name__]}
        files[f"{event.__name__}.v{SCHEMA_VERSION}.json"] = json.dumps(schema, indent=2, sort_keys=True) + "\n"
    return files


def _header_schema() -> dict[str, Any]:
    """A frame's facts as they travel: every value is text."""
    schema = Frame.model_json_schema()
    facts = schema["properties"]
    for name, fact in facts.items():
        if fact.get("type") == "integer":
            told = {key: fact[key] for key in ("title", "description")}
            facts[name] = {"type": "string", "pattern": "^[0-9]+$", **told}
    facts["schema_version"] |= {"const": str(SCHEMA_VERSION)}
    facts["captured_at"] = {
        "type": "string",
        "pattern": "^[0-9]+$",
        "description": "When the camera had the picture: Unix ms, UTC.",
    }
    facts["traceparent"] = {"type": "string", "maxLength": 128, "description": "W3C trace context; may be absent."}
    facts["frame_id"] = {"type": "string", "description": "camera_id:boot_id:sequence; may be absent."}
    return schema | {"required": ["schema_version", *schema["required"]]}
