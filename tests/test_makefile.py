"""`make setup` where something was before. The Python of .venv is a stand-in that installs nothing."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[1]
TELLS_WHERE_IT_IS = '#!/bin/sh\ncase "$*" in *sys.executable*) echo "$PWD/$0 3 11" ;; esac\n'
TOO_OLD = "#!/bin/sh\nexit 1\n"


def checkout(folder: Path, python: str) -> Path:
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt", "Makefile"):
        shutil.copy(ROOT / name, folder)
    for name in ("python", "uv"):
        (programs / name).write_text(python, encoding="utf-8")
        (programs / name).chmod(0o755)
    return folder


def setup(folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["make", "setup", "PYTHON=true"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_a_folder_that_was_moved_gets_a_new_venv(tmp_path: Path) -> None:
    """Each program in .venv/bin names its Python by the whole path: `make demo` said 'No such file or directory'."""
    made = checkout(tmp_path / "Prüf stand", TELLS_WHERE_IT_IS)
    first, second = setup(made), setup(made)
    assert "true -m venv  .venv" in first.stdout
    assert "venv" not in second.stdout, "installed twice"

    moved = made.rename(tmp_path / "elsewhere")
    after = setup(moved)
    assert "is made anew" in after.stdout
    assert "true -m venv --clear .venv" in after.stdout
    assert "venv" not in setup(moved).stdout


def test_a_venv_of_an_old_python_is_told_of(tmp_path: Path) -> None:
    """`python3.12 -m venv .venv` leaves the Python in place that is there, and says nothing."""
    done = setup(checkout(tmp_path, TOO_OLD))
    assert done.returncode != 0
    assert "The folder .venv is of another Python: remove it" in done.stdout


@pytest.mark.parametrize(
    ("andon", "left"),
    [("#!/bin/sh\nexit 1\n", True), ("#!/bin/sh\n", False), ("#!/gone/python\n", False)],
    ids=["its services run", "nothing runs", "its Python has gone"],
)
def test_clean_leaves_a_factory_that_runs(tmp_path: Path, andon: str, left: bool) -> None:
    """It told the refusal, and then removed the programs of the services that ran."""
    made = checkout(tmp_path, TELLS_WHERE_IT_IS)
    (made / ".venv" / "bin" / "andon").write_text(andon, encoding="utf-8")
    (made / ".venv" / "bin" / "andon").chmod(0o755)
    done = subprocess.run(["make", "clean"], cwd=made, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode != 0, (made / ".venv").exists()) == (left, left), done.stderr
