"""YAML configuration, validated: an error names the file, the key and what was expected."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.errors import AndonError
from pipeline.events import NAME

Model = TypeVar("Model", bound=BaseModel)

_NAME_WORDS = "A name has letters from A to Z, digits, '_', '.' and '-', at most 64, and begins with a letter or digit"


class ConfigError(AndonError):
    """A configuration file that can't be used. The message names file and key."""


class _EachKeyOnce(yaml.SafeLoader):
    """YAML's own rule, which the library does not hold: of two lines of one name it takes the last without a word."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_config(path: Path, model: type[Model]) -> Model:
    """Raises ConfigError."""
    try:
        with path.open("rb") as file:  # by its own reader: its errors name the file, and bytes that are no UTF-8
            content = yaml.load(file, _EachKeyOnce)  # noqa: S506 (a SafeLoader)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}. Give another path, or mend this one") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = "\n".join(
            f"  {'.'.join(map(str, e['loc'])) or '(whole file)'}: {_words(e)}" for e in error.errors(include_url=False)
        )
        raise ConfigError(f"{path}:\n{faults}") from error


def _words(error: Any) -> str:
    """A name with an umlaut is what most people meet first, and few of them read patterns."""
    is_name = error["type"] == "string_pattern_mismatch" and error["ctx"]["pattern"] == NAME
    return _NAME_WORDS if is_name else error["msg"]
