"""YAML configuration, validated: an error names the file, the line, the key and what was expected."""

import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.errors import AndonError
from pipeline.events import NAME

Model = TypeVar("Model", bound=BaseModel)
Place = tuple[str | int, ...]
"""Keys and positions from the whole file down to a value, as pydantic tells them."""

_NAME_WORDS = "A name has letters from A to Z, digits, '_', '.' and '-', at most 64, and begins with a letter or digit"
_TABLE_WORDS = "keys and values belong here, as in `key: value`"
_WORDS = {
    "dict_type": _TABLE_WORDS,
    "extra_forbidden": "unknown key",
    "invalid_key": "unknown key; where a number has a comma, write a point",
    "mapping_type": _TABLE_WORDS,
    "missing": "is missing",
    "model_type": _TABLE_WORDS,
    "path_type": "a path belongs here, in quotes where it has signs of YAML's own",
    "too_short": "at least one entry belongs here",
    "tuple_type": "a list belongs here, each entry after a dash",
    "union_tag_not_found": "`type` is missing",
}
"""For who writes YAML: pydantic speaks of Python."""
_OCTAL = re.compile(r"[-+]?0[0-9_]+")


class ConfigError(AndonError):
    """A configuration file that can't be used. The message names file and key."""


class _Unambiguous(yaml.SafeLoader):
    """Of two lines of one name the library takes the last without a word, which YAML itself forbids; and of a number
    that begins with 0, as coils and registers are often written, it takes an octal one."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: Any) -> int:
        number: int = super().construct_yaml_int(node)
        if _OCTAL.fullmatch(node.value):
            taken = f"{node.value} would be read as the octal of {number}"
            problem = f"{taken}: write a number without the 0 in front, and a name in quotes"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return number


_Unambiguous.add_constructor("tag:yaml.org,2002:int", _Unambiguous.construct_yaml_int)


def read_config(path: Path, model: type[Model]) -> Model:
    """Raises ConfigError."""
    try:
        with path.open("rb") as file:  # by its own reader: its errors name the file, and bytes that are no UTF-8
            loader = _Unambiguous(file)
            root = loader.get_single_node()
            content = None if root is None else loader.construct_document(root)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}. Give another path, or mend this one") from error
    except yaml.YAMLError as error:
        spaces = ". Indent with spaces, never with tabs" if "character '\\t'" in str(error) else ""
        raise ConfigError(f"{path} is not YAML: {error}{spaces}") from error
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{path}:\n" + "\n".join(f"  {fault}" for fault in _faults(error, root))) from error


def _faults(error: ValidationError, root: yaml.Node | None) -> list[str]:
    """Each once: what a line of the plant has from the defaults stands at no place of its own in the file, and is told
    of the defaults; and a list none of whose entries could be read counts as empty to pydantic."""
    faults: list[Any] = list(error.errors(include_url=False))
    lines = [_line(root, f["loc"][:-1] if f["type"] == "missing" else f["loc"]) for f in faults]
    placed = {(f["msg"], f["loc"][-1:]) for f, line in zip(faults, lines, strict=True) if line is not None}
    told = []
    for fault, line in zip(faults, lines, strict=True):
        place = fault["loc"]
        inherited = line is None and (fault["msg"], place[-1:]) in placed
        beneath = (f["loc"] for f in faults if len(f["loc"]) > len(place) and f["loc"][: len(place)] == place)
        if not inherited and not (fault["type"] == "too_short" and any(beneath)):
            key = ".".join(map(str, place)) or "(whole file)"
            told.append(f"{key if line is None else f'line {line}, {key}'}: {_words(fault)}")
    return told


def _line(root: yaml.Node | None, place: Place) -> int | None:
    """Counted from 1. None for the whole file, and where the file has no such place."""
    node, line = root, None
    for step in place:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            entries = {key.value: (key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)}
            if str(step) in entries:
                key, node = entries[str(step)]
                line = key.start_mark.line + 1
            elif step != "[key]" and not ("type" in entries and entries["type"][1].value == step):
                return None  # but for two steps of pydantic's own: a name that is none, and which one of a union
    return line


def _words(error: Any) -> str:
    if error["type"] == "string_pattern_mismatch" and error["ctx"]["pattern"] == NAME:
        return _NAME_WORDS  # a name with an umlaut is what most people meet first, and few of them read patterns
    if error["type"] == "string_type" and isinstance(error["input"], int | float):
        return "YAML takes it for a number or for yes or no: put it in quotes"
    words: str = _WORDS.get(error["type"], error["msg"].removeprefix("Value error, "))
    return words
