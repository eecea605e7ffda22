"""A wrong configuration is refused with the file, the key and what was expected."""

from pathlib import Path

import pytest

from pipeline.files.config import ConfigError
from workers.camera.buffer import WhenFull
from workers.camera.config import read_camera_config

pytestmark = pytest.mark.unit

CAMERA = "camera_id: {id}, line_id: l, station_id: s, recipe: r, source: {source}"
FOLDER = "{type: folder, path: images}"


def write(folder: Path, *cameras: str, head: str = "") -> Path:
    path = folder / "cameras.yaml"
    path.write_text(head + "cameras:\n" + "".join(f"  - {{{camera}}}\n" for camera in cameras))
    return path


def camera(name: str = "cam-1", source: str = FOLDER, more: str = "") -> str:
    return CAMERA.format(id=name, source=source) + more


def test_the_example_is_valid() -> None:
    example = read_camera_config(Path(__file__).parents[2] / "deploy" / "examples" / "cameras.yaml")
    assert example.spool is not None
    assert {each.source.type for each in example.cameras} == {"folder", "genicam", "video"}


def test_live_cameras_drop_the_oldest_unless_told_otherwise(tmp_path: Path) -> None:
    config = read_camera_config(write(tmp_path, camera()))
    assert (config.when_full, config.buffer_mib, config.spool) == (WhenFull.DROP_OLDEST, 64, None)


@pytest.mark.parametrize(
    ("cameras", "head", "expected"),
    [
        ([camera(), camera()], "", "'cam-1' is used twice"),
        ([camera("no spaces")], "", "cameras.0.camera_id"),
        ([camera(source="{type: gige, path: x}")], "", "cameras.0.source"),
        ([camera(source="{type: folder, path: x, fsp: 3}")], "", "cameras.0.source.folder.fsp"),
        ([camera(source="{type: video, url: x}", more=", part_id: file")], "", "file needs a folder source"),
        ([camera(source="{type: video, url: x.mp4, login: y}")], "", "a file asks for none"),
        ([camera(source="{type: video, url: 'http://c/?u={username}', login: y}")], "", "says so of both"),
        ([camera()], "buffer_mib: 1\n", "buffer_mib"),
        ([camera()], "when_full: panic\n", "when_full"),
        ([camera()], "spool: {folder: x, max_mib: 1}\n", "spool.max_mib"),
    ],
)
def test_a_wrong_file_is_refused_by_key(tmp_path: Path, cameras: list[str], head: str, expected: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_camera_config(write(tmp_path, *cameras, head=head))
    assert "cameras.yaml" in str(refused.value)
    assert expected in str(refused.value)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (
            "  - camera_id: 7\n",
            ["line 3, cameras.0.camera_id: YAML takes it for a number or for yes or no: put it in quotes"],
        ),
        (
            "  - camera_id: c\n    station: s\n",
            ["line 3, cameras.0.station_id: is missing", "line 4, cameras.0.station: unknown key"],
        ),
        (
            "  - camera_id: c\n    station_id: s\n    source: {type: folder,\n      path: x, fps: 5/s}\n",
            ["line 6, cameras.0.source.folder.fps: Input should be a valid number, unable to parse string as a number"],
        ),
        (
            "  - camera_id: c\n    station_id: s\n    source: {path: x}\n",
            ["line 5, cameras.0.source: `type` is missing"],
        ),
        (
            "  - camera_id: c\n    station_id: s\n    source: {type: folder, path: x, fps: 2,5}\n",
            ["line 5, cameras.0.source.folder.5: unknown key; where a number has a comma, write a point"],
        ),
        (
            "  - camera_id: c\n    station_id: s\n    source: {type: folder, path: {x: y}}\n",
            ["line 5, cameras.0.source.folder.path: a path belongs here, in quotes where it has signs of YAML's own"],
        ),
        ("  camera-1:\n    station_id: s\n", ["line 2, cameras: a list belongs here, each entry after a dash"]),
        ("  - camera-1\n", ["line 3, cameras.0: keys and values belong here, as in `key: value`"]),
        ("  []\n", ["line 2, cameras: at least one entry belongs here"]),
    ],
)
def test_a_fault_is_told_by_its_line_and_in_words_of_the_file(tmp_path: Path, entry: str, told: list[str]) -> None:
    """And nothing besides: that `cameras` is empty was told, too, when the only camera had a fault."""
    path = tmp_path / "cameras.yaml"
    path.write_text("# The cameras\ncameras:\n" + entry)
    with pytest.raises(ConfigError) as refused:
        read_camera_config(path)
    first, *faults = str(refused.value).splitlines()
    assert first == f"{path}:"
    others = ("line_id: is missing", "recipe: is missing", "source: is missing", "station_id: is missing")
    wanted = [fault.strip() for fault in faults]
    assert [f for f in wanted if f in told or not f.endswith(others)] == told


def test_a_tab_is_told_with_its_line_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text("cameras:\n\t- camera_id: c\n")
    with pytest.raises(ConfigError, match=r"(?s)line 2, column 1\. Indent with spaces"):
        read_camera_config(path)


@pytest.mark.parametrize("content", [b"cameras: [\n", "# Prüfstand\ncameras: []\n".encode("latin-1")])
def test_a_file_that_is_no_yaml_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is not YAML") as refused:
        read_camera_config(path)
    assert str(refused.value).count(str(path)) == 2  # the parser's place names it, too
