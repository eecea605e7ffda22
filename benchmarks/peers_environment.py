"""An environment of its own for anomalib, pinned, with the torch and timm that Andon runs on."""

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ANOMALIB = "2.7.0"
_INSTALL_TIMEOUT_S = 1800


def peers_python() -> Path:
    """The interpreter of the environment, made on the first call. Raises SystemExit when it cannot be installed."""
    wanted = [f"anomalib=={ANOMALIB}", *(f"{name}=={version(name).split('+')[0]}" for name in ("torch", "timm"))]
    key = hashlib.sha256(" ".join([*wanted, sys.version]).encode()).hexdigest()[:10]
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "andon-benchmarks" / f"anomalib-{key}"
    python, done = home / "bin" / "python", home / "installed"
    if not done.exists():
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, timeout=300)
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        install = [uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
        found = subprocess.run([*install, *wanted], capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S)
        if found.returncode:
            raise SystemExit(f"cannot install {', '.join(wanted)}:\n{found.stderr[-2000:]}")
        done.touch()
    return python
