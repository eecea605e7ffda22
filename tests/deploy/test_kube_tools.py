"""Where the programs come from that the charts are tried with."""

import platform
from collections.abc import Callable
from pathlib import Path

import pytest
from support import kube_tools

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("tool", [kube_tools.helm, kube_tools.kubectl, kube_tools.hadolint])
def test_where_ours_do_not_run_the_installed_one_is_taken(
    tool: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to do was said, and did nothing: PATH was never looked at."""
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(kube_tools.ToolError, match=f"{tool.__name__} is fetched for Linux on x86-64 only"):
        tool()
    installed = tmp_path / tool.__name__
    installed.write_text("#!/bin/sh\n")
    installed.chmod(0o755)
    assert tool() == installed
