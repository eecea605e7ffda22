"""Writes what the charts repeat from elsewhere: each one's values.schema.json and README.md from its values.yaml, the
topics of factory-kafka from pipeline/topics.py, and the Serve configuration of factory from workers/local/serve.yaml. A
link out of a chart would break where its folder is copied alone.

    .venv/bin/python deploy/tools/describe_values.py           # writes
    .venv/bin/python deploy/tools/describe_values.py --check   # exit code 1 when a file is not what it would write

A comment above a key is its description. `# @schema {…}` adds JSON Schema keywords; `{use: Name}` takes a shared part
of `parts.py`. Everything else follows from the default: its type, its keys, and that no other key is allowed.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml
from parts import NAMES_OF_OBJECTS, OBJECT_NAME, PARTS, closed, entry_of, forms_of

from pipeline.topics import topics

CHARTS = Path(__file__).parents[1] / "charts"
SERVE = Path(__file__).parents[2] / "workers" / "local" / "serve.yaml"
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}


def schema_of(values_file: Path) -> dict[str, Any]:
    lines = values_file.read_text(encoding="utf-8").splitlines()
    root = yaml.compose(values_file.read_text(encoding="utf-8"))
    assert isinstance(root, yaml.MappingNode)
    # `global` is what Helm hands to every chart.
    properties = _properties(root, lines) | {"global": {"type": "object", "description": "Helm's own."}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_section(root, properties)}


def _section(node: yaml.MappingNode, properties: dict[str, Any]) -> dict[str, Any]:
    """Sections in it and values that are something by default are required: Helm takes one that is left empty
    (`kafka:`, `certKey:`) for a wish to have none at all. What is nothing by default may be left empty."""
    wanted = [
        key.value
        for key, value in node.value
        if _is_something(value) and "null" not in properties[key.value].get("type", "")
    ]
    return closed(properties, required=wanted) if wanted else closed(properties)


def _is_something(value: yaml.Node) -> bool:
    if isinstance(value, yaml.ScalarNode):
        return yaml.safe_load(yaml.serialize(value)) not in (None, "")
    return bool(value.value)


def _properties(node: yaml.MappingNode, lines: list[str]) -> dict[str, Any]:
    return {key.value: _property(key, value, lines) for key, value in node.value}


def _property(key: yaml.ScalarNode, value: yaml.Node, lines: list[str]) -> dict[str, Any]:
    description, extra = _comment(lines, key.start_mark.line)
    if not description:
        sys.exit(f"line {key.start_mark.line + 1}: {key.value} has no comment that says what it means")
    default = yaml.safe_load(yaml.serialize(value))
    found: dict[str, Any] = {"description": description}
    part = extra.pop("use", None)
    if part:
        found |= PARTS[part]
    elif isinstance(value, yaml.MappingNode):
        if not value.value:
            sys.exit(f"line {key.start_mark.line + 1}: say what {key.value} may hold, with # @schema {{use: …}}")
        return {"description": description, **_section(value, _properties(value, lines))}
    elif isinstance(value, yaml.SequenceNode):
        found |= {"type": "array"}
        extra["items"] = PARTS[extra["items"].pop("use")] if "use" in extra["items"] else extra["items"]
    elif default is not None:
        found |= {"type": _TYPES[type(default)]}
        if key.value in NAMES_OF_OBJECTS:
            found |= {"pattern": OBJECT_NAME}
    return found | extra | ({"default": default} if default not in (None, {}) else {})


def _comment(lines: list[str], at: int) -> tuple[str, dict[str, Any]]:
    """The comment lines directly above line `at`."""
    text: list[str] = []
    extra: dict[str, Any] = {}
    for line in reversed(lines[:at]):
        stripped = line.strip()
        if not stripped.startswith("#"):
            break
        stripped = stripped.removeprefix("#").strip()
        if stripped.startswith("@schema"):
            extra |= yaml.safe_load(stripped.removeprefix("@schema"))
        else:
            text.insert(0, stripped)
    return " ".join(text), extra


def readme_of(chart: Path, schema: dict[str, Any]) -> str:
    facts = yaml.safe_load((chart / "Chart.yaml").read_text())
    rows = [f"| `{path}` | {default} | {text} |" for path, default, text in _rows("", schema)]
    examples = [f"| [{file.name}](ci/{file.name}) | {_first_comment(file)} |" for file in ci_files(chart)]
    return "\n".join(
        [
            f"# {facts['name']}",
            "",
            facts["description"],
            "",
            "How to install it, from an empty cluster: [deploy/README.md](../../README.md). This page is written by",
            "`deploy/tools/describe_values.py` from [values.yaml](values.yaml); a test fails when the two differ.",
            "",
            "## Examples",
            "Each is rendered, checked against the schemas and sent to a real API server by the tests.",
            "",
            "| file | what it shows |",
            "|---|---|",
            *examples,
            "",
            "## Values",
            "A key that is not in this table is refused.",
            "",
            "| key | default | meaning |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def ci_files(chart: Path) -> list[Path]:
    return sorted((chart / "ci").glob("*-values.yaml"))


def _rows(path: str, schema: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for name, part in schema.get("properties", {}).items():
        if name == "global":
            continue
        here = f"{path}.{name}" if path else name
        inner = _rows(here, part) + _entries(here, part)
        if not inner or "default" in part:
            rows.append((here, _shown(part, here in ("lines", "recipes")), _told(part)))
        elif not part.get("properties"):
            rows.append((here, "–", _told(part)))
        rows += inner
    return rows


def _entries(path: str, part: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The rows of a table by name, and of the forms that one key can take."""
    entry = entry_of(part)
    if entry.get("properties"):
        return _rows(f"{path}.‹{part['x-entry']}›", entry)
    rows: list[tuple[str, str, str]] = []
    for form in forms_of(part):
        for row in _rows(path, form) + _entries(path, form):
            if row[0] not in [old[0] for old in rows]:
                rows.append(row)
    return rows


def _shown(part: dict[str, Any], table: bool) -> str:
    if table or "default" not in part or part["default"] == "":
        return "–"
    return f"`{json.dumps(part['default'])}`"


def _told(part: dict[str, Any]) -> str:
    text = str(part.get("description", ""))
    if "const" in part:
        text += f" `{part['const']}`, or one of the other forms."
    if "enum" in part:
        text += f" One of {', '.join(f'`{value}`' for value in part['enum'])}."
    return text.replace("|", "\\|")


def _first_comment(file: Path) -> str:
    return file.read_text(encoding="utf-8").splitlines()[0].removeprefix("#").strip()


def topics_file() -> str:
    """The topics of a factory; `frame` and `line` stand for the numbers of partitions that the values choose."""
    chosen = {101: "frame", 102: "line"}
    content = {
        topic.name: {"partitions": chosen.get(topic.partitions, topic.partitions), "config": topic.config}
        for topic in topics(frame_partitions=101, line_partitions=102)
    }
    return "# Written by deploy/tools/describe_values.py from pipeline/topics.py.\n" + yaml.safe_dump(content)


def serve_file() -> str:
    return "# Written by deploy/tools/describe_values.py from workers/local/serve.yaml.\n" + SERVE.read_text("utf-8")


def main() -> None:
    wanted = {
        CHARTS / "factory-kafka" / "files" / "topics.yaml": topics_file(),
        CHARTS / "factory" / "files" / "serve.yaml": serve_file(),
    }
    for chart in sorted(path.parent for path in CHARTS.glob("*/values.yaml")):
        schema = schema_of(chart / "values.yaml")
        wanted[chart / "values.schema.json"] = json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
        wanted[chart / "README.md"] = readme_of(chart, schema)
    stale = [file for file, content in wanted.items() if not file.is_file() or file.read_text() != content]
    for file in stale:
        if "--check" not in sys.argv:
            file.write_text(wanted[file])
            print(f"wrote {file}")
    if stale and "--check" in sys.argv:
        names = ", ".join(str(file) for file in stale)
        sys.exit(f"not what values.yaml says: {names}. Run deploy/tools/describe_values.py and commit.")


if __name__ == "__main__":
    main()
