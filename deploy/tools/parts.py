"""Shared parts of the values schemas. What the processes read is taken from their own pydantic models."""

import ast
import inspect
import textwrap
from typing import Any

from pydantic import BaseModel

from pipeline.events import NAME
from pipeline.replica.recipes import Recipe
from workers.alerting.policy import LinePolicy
from workers.camera.config import Camera, FolderSource, VideoSource

Schema = dict[str, Any]


def closed(properties: dict[str, Any], **more: Any) -> Schema:
    """No other keys; whoever mistypes one is told which there are."""
    return {
        "type": "object",
        "additionalProperties": False,
        "propertyNames": {"enum": list(properties)},
        "properties": properties,
        **more,
    }


def by_type(forms: list[Schema]) -> Schema:
    """One of several forms, chosen by `type` first: with `oneOf` Helm tells what speaks against each of them."""
    types = [form["properties"]["type"]["const"] for form in forms]
    chosen: Schema = {"required": ["type"], "properties": {"type": {"enum": types}}}
    for name, form in reversed(list(zip(types, forms, strict=True))):
        named = {"type": "object", "required": ["type"], "properties": {"type": {"const": name}}}
        chosen = {"if": named, "then": form, "else": chosen}
    return {"type": "object", **chosen}


def forms_of(part: Schema) -> list[Schema]:
    """What one key may be: one of these."""
    chosen = [part["then"], *forms_of(part["else"])] if "then" in part else []
    return chosen + part.get("anyOf", [])


def table(entry: Schema, names: str, pattern: str = NAME) -> Schema:
    """Of a name that does not match, Helm tells the place by additionalProperties, and the pattern by propertyNames."""
    return {
        "type": "object",
        "propertyNames": {"pattern": pattern},
        "patternProperties": {pattern: entry},
        "additionalProperties": False,
        "x-entry": names,
    }


def entry_of(part: Schema) -> Schema:
    """What a table holds under each name; nothing where it is none."""
    return next(iter(part.get("patternProperties", {}).values()), {})


def of_model(model: type[BaseModel], told_in: str, *, without: tuple[str, ...] = (), **more: Schema) -> Schema:
    """What a pydantic model takes, with its attribute docstrings as descriptions. told_in: the page that says more."""
    schema = model.model_json_schema()
    parts = {name: _described(part, _class(model, name), told_in) for name, part in schema.get("$defs", {}).items()}
    whole = _inlined(_described(schema, model, told_in), parts)
    properties = {name: part for name, part in whole["properties"].items() if name not in without}
    required = [name for name in whole.get("required", []) if name not in without]
    return closed(properties | more, required=required)


def _class(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The model of this name that belongs to the same program."""
    todo = BaseModel.__subclasses__()
    while todo:
        found = todo.pop()
        if found.__name__ == name and found.__module__.split(".")[0] == model.__module__.split(".")[0]:
            return found
        todo += found.__subclasses__()
    return None


def _described(part: Schema, model: type[BaseModel] | None, told_in: str) -> Schema:
    if "properties" not in part:
        return {key: value for key, value in part.items() if key not in ("title", "description")}
    told = _docstrings(model) if model else {}
    properties = {
        name: {key: value for key, value in inner.items() if key != "title"}
        | {"description": inner.get("description") or told.get(name) or f"See {told_in}."}
        for name, inner in part["properties"].items()
    }
    return {"type": "object", "additionalProperties": False, "properties": properties} | {
        key: part[key] for key in ("required",) if key in part
    }


def _inlined(part: Any, definitions: Schema) -> Any:
    if isinstance(part, list):
        return [_inlined(item, definitions) for item in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        name = part["$ref"].rsplit("/", 1)[1]
        part = definitions[name] | {key: value for key, value in part.items() if key != "$ref"}
    # `discriminator` is OpenAPI's.
    kept = {key: _inlined(value, definitions) for key, value in part.items() if key not in ("$defs", "discriminator")}
    if "properties" in kept:
        kept["propertyNames"] = {"enum": list(kept["properties"])}
    if kept.get("format") == "time":  # which Helm does not look at
        kept["pattern"] = "^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$"
    if "oneOf" in kept:
        kept |= by_type(kept.pop("oneOf"))
    match kept:
        case {"anyOf": [{"then": _} as form, {"type": "null"}]}:
            del kept["anyOf"]
            kept |= form | {"type": ["object", "null"]}
    if "patternProperties" in kept:
        ((pattern, entry),) = kept.pop("patternProperties").items()
        kept |= table(entry, "name", pattern)
    return kept


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The strings below the attributes of a class."""
    found = {}
    for cls in reversed(model.__mro__):
        if not issubclass(cls, BaseModel) or cls is BaseModel:
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        assert isinstance(body, ast.ClassDef)
        for pair in zip(body.body, body.body[1:], strict=False):
            match pair:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found


OBJECT_NAME = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$"
"""What Kubernetes takes as the name of an object, or nothing."""
NAMES_OF_OBJECTS = (
    "existingSecret", "existingClaim", "caSecret", "storageClass", "runtimeClassName", "priorityClassName",
    "serviceAccountName",
)  # fmt: skip
_QUANTITY: Schema = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?)?$"}
_STRINGS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_LABELS: Schema = {
    "type": "object",
    "additionalProperties": {"type": "string", "pattern": r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"},
}
_SELECTOR: Schema = closed({"matchLabels": {**_LABELS, "description": "Labels that must match."}})
_PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535, "description": "TCP port."}
_CIDR: Schema = {"type": "string", "pattern": r"^([0-9]{1,3}\.){3}[0-9]{1,3}/[0-9]{1,2}$|^[0-9a-fA-F:]+/[0-9]{1,3}$"}


def _amounts(meaning: str) -> Schema:
    return closed(
        {
            "cpu": {**_QUANTITY, "description": f"Cores {meaning}; empty: none."},
            "memory": {**_QUANTITY, "description": f"Memory {meaning}."},
        }
    )


def _policy(required: list[str], without: tuple[str, ...] = ()) -> Schema:
    """`n` is called `of` here: Helm's YAML takes a bare n for the word "no"."""
    schema = _renamed(of_model(LinePolicy, "docs/alerting.md", without=without))
    for name, part in schema["properties"].items():
        part["description"] = _POLICY_WORDS.get(name, part["description"])
    return schema | {"required": required}


def _renamed(part: Any) -> Any:
    if isinstance(part, list):
        return [_renamed(item) for item in part]
    if not isinstance(part, dict):
        return part
    inner = {key: _renamed(value) for key, value in part.items()}
    if "n" in inner.get("properties", {}):
        inner["properties"] = {"of" if name == "n" else name: value for name, value in inner["properties"].items()}
        inner["propertyNames"] = {"enum": list(inner["properties"])}
    return inner


_POLICY_WORDS = {
    "k": "So many parts NOT_OK …",
    "of": "… of the last so many inspected parts, seen by one camera, are a burst.",
    "not_decidable": "How much blindness is too much: docs/alerting.md.",
}
_CAMERA_WORDS = {
    "station_id": "Where at the line it looks.",
    "recipe": "A key of `recipes`.",
    "source": "Where its images come from.",
}


def _camera() -> Schema:
    schema = of_model(
        Camera,
        "docs/camera.md",
        without=("camera_id", "line_id", "source"),
        source={
            "description": _CAMERA_WORDS["source"],
            **by_type(
                [
                    of_model(VideoSource, "docs/camera.md", without=("login",)),
                    of_model(FolderSource, "docs/camera.md"),
                ]
            ),
        },
        worker={
            "type": "string",
            "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$",
            "default": "",
            "description": "Cameras of one name share a process, a pod and a spool. Empty: a process of its own.",
        },
        existingSecret={
            "type": "string",
            "pattern": OBJECT_NAME,
            "default": "",
            "description": "Secret with `username` and `password` for the camera, so that they stand in no address.",
        },
        imagesClaim={
            "type": "string",
            "pattern": OBJECT_NAME,
            "default": "",
            "description": "PersistentVolumeClaim with images, seen at /images: for trials with `source.type: folder`.",
        },
    )
    for name, part in schema["properties"].items():
        part["description"] = _CAMERA_WORDS.get(name) or part["description"]
    return schema | {"required": ["station_id", "recipe", "source"]}


_PEERS: Schema = {
    "type": "array",
    "items": closed(
        minProperties=1,
        properties={
            "namespaceSelector": {"description": "Namespaces by label.", **_SELECTOR},
            "podSelector": {"description": "Pods by label.", **_SELECTOR},
            "ipBlock": {
                "description": "A network.",
                **closed(
                    {
                        "cidr": {**_CIDR, "description": "Its address."},
                        "except": {"type": "array", "items": _CIDR, "description": "But for these."},
                    },
                    required=["cidr"],
                ),
            },
        },
    ),
}
_KEY_OF: Schema = closed(
    {
        "name": {"type": "string", "minLength": 1, "description": "Of the object."},
        "key": {"type": "string", "minLength": 1, "description": "In the object."},
    },
    required=["name", "key"],
)
_ENVIRONMENT: Schema = {
    "type": "array",
    "items": closed(
        {
            "name": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "description": "Of the variable."},
            "value": {"type": "string", "description": "Its value. Nothing secret: that is what secretKeyRef is for."},
            "valueFrom": {
                "description": "Where its value is.",
                **closed(
                    {
                        "secretKeyRef": {"description": "In a Secret.", **_KEY_OF},
                        "configMapKeyRef": {"description": "In a ConfigMap.", **_KEY_OF},
                        "fieldRef": {
                            "description": "A fact of the pod.",
                            **closed(
                                {"fieldPath": {"type": "string", "description": "For instance metadata.name."}},
                                required=["fieldPath"],
                            ),
                        },
                    },
                    minProperties=1,
                    maxProperties=1,
                ),
            },
        },
        required=["name"],
        minProperties=2,
        maxProperties=2,
    ),
}

PARTS: dict[str, Schema] = {
    "Environment": _ENVIRONMENT,
    "Lines": table(
        closed(
            {
                "stop": {"description": "When this line stops. The keys of docs/alerting.md.", **_policy(["action"])},
                "cameras": {
                    "description": "The cameras of this line, by camera id; empty where boxes send them all.",
                    **table(_camera(), "camera"),
                    "type": ["object", "null"],
                },
                "existingSecret": {
                    "type": "string",
                    "pattern": OBJECT_NAME,
                    "default": "",
                    "description": "Secret for this line's PLC; its keys are files in /run/secrets/lines/‹line›/, "
                    "where `stop.actuator` may name them.",
                },
            },
            required=["stop"],
        ),
        "line",
    ),
    "Recipes": table(
        of_model(
            Recipe,
            "docs/architecture.md",
            without=("cameras",),
            moreCameras={
                "type": "array",
                "items": {"type": "string", "pattern": r"^[A-Za-z0-9_.*?-]+$", "description": "Camera id; * and ?."},
                "description": "Cameras whose workers run elsewhere, such as on a box at the line; * and ? match.",
            },
        ),
        "recipe",
    ),
    "Policy": _policy(["k", "of", "action"], without=("actuator", "on_loss")),
    "Labels": _LABELS,
    "Annotations": _STRINGS,
    "Secret": {"type": "string", "pattern": OBJECT_NAME, "minLength": 1, "description": "Name of a Secret."},
    "Registry": {"type": "string", "pattern": r"^[A-Za-z0-9._:/\[\]-]*$"},
    "RegistryOrNull": {"type": ["string", "null"], "pattern": r"^[A-Za-z0-9._:/\[\]-]*$"},
    "Repository": {"type": "string", "pattern": "^[a-z0-9]+([._/-]+[a-z0-9]+)*$"},
    "Tag": {"type": "string", "pattern": "^([A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$"},
    "Quantity": _QUANTITY,
    "Port": _PORT,
    "Cidrs": {"type": "array", "items": _CIDR},
    "Retention": table(
        closed(
            {
                "hours": {"type": "integer", "minimum": 1, "description": "Kept for so long."},
                "gibPerPartition": {"type": "integer", "minimum": 1, "description": "Kept at most so much."},
            }
        ),
        "topic",
        "^[a-z][a-z.-]*$",
    ),
    "Resources": closed(
        {
            "requests": {"description": "Reserved.", **_amounts("reserved")},
            "limits": {"description": "At most.", **_amounts("at most")},
        },
        required=["requests", "limits"],
    ),
    "Tolerations": {
        "type": "array",
        "items": closed(
            {
                "key": {"type": "string", "description": "Of the taint."},
                "operator": {"enum": ["Exists", "Equal"], "description": "How to compare."},
                "value": {"type": "string", "description": "Of the taint."},
                "effect": {"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"], "description": "Of the taint."},
                "tolerationSeconds": {"type": "integer", "description": "For NoExecute."},
            }
        ),
    },
    "Peers": _PEERS,
    "Egress": {
        "type": "array",
        "items": closed(
            {
                "to": {"description": "Who. Left out or empty: anywhere, by port alone.", **_PEERS},
                "ports": {"description": "TCP ports.", "type": "array", "minItems": 1, "items": _PORT},
            },
            required=["ports"],
        ),
    },
}
