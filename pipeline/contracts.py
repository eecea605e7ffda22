"""The JSON Schemas of the wire contracts, for subscribers in any language."""

import json
from typing import Literal

from pipeline.events import EVENTS, SCHEMA_VERSION, Frame

_WHERE = {
    "Frame": "Kafka headers of a record in `frames`, all UTF-8 text; `captured_at` is Unix milliseconds there. "
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
        mode: Literal["validation", "serialization"] = "validation" if event is Frame else "serialization"
        schema = event.model_json_schema(mode=mode) | {"$comment": _WHERE[event.__name__]}
        files[f"{event.__name__}.v{SCHEMA_VERSION}.json"] = json.dumps(schema, indent=2, sort_keys=True) + "\n"
    return files
