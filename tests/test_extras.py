"""An installation without extras, as a camera box has it, says what a command needs besides."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from workers.cli import _EXTRAS

pytestmark = pytest.mark.unit

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize(
    ("words", "missing", "extra"),
    [
        (["console"], "itsdangerous", "console"),
        (["train", "radar", "--data", ".", "--out", "x"], "torch", "detect"),
        (["evaluate", "b", "--data", "."], "jinja2", "detect"),
        (["demo"], "pymodbus", "demo"),
    ],
)
def test_a_command_whose_packages_are_missing_names_the_extra(words: list[str], missing: str, extra: str) -> None:
    """They ended with a trace."""
    code = f"import sys; sys.modules[{missing!r}] = None; from workers.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert (
        done.stderr
        == f"andon: this command needs the package {missing}: pip install '.[{extra}]' in Andon's checkout\n"
    )


def test_each_extra_is_one_of_the_projects() -> None:
    for extra, modules in _EXTRAS.items():
        brought = {Requirement(one).name.replace("-", "_") for one in PROJECT["optional-dependencies"][extra]}
        others = {"argon2": "argon2_cffi", "paho": "paho_mqtt", "sklearn": "scikit_learn"}
        assert {others.get(module, module) for module in modules} <= brought, extra
