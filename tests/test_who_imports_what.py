"""What docs/architecture.md says of who imports what."""

import ast
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[1]
ALONE = {
    "workers": ("workers/",),
    "kafka": ("pipeline/kafka/",),
    "redis": ("pipeline/maps.py", "workers/local/"),
    "ray": ("pipeline/serving.py", "workers/local/"),
    "torch": ("pipeline/detectors/", "pipeline/training/"),
}


def imported(file: Path) -> set[str]:
    """Everywhere in it, also within a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    files = [file for room in ("pipeline", "workers") for file in (ROOT / room).rglob("*.py")]
    return {file.relative_to(ROOT).as_posix(): imported(file) for file in files}


@pytest.mark.parametrize("library", ALONE)
def test_a_library_is_imported_where_the_architecture_says(library: str, imports: dict[str, set[str]]) -> None:
    where = {file for file, libraries in imports.items() if library in libraries}
    assert where
    assert not {file for file in where if not file.startswith(ALONE[library])}
