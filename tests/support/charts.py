"""Renders the charts as Helm does, and looks into what came out."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from support import kube_tools

CHARTS = Path(__file__).parents[2] / "deploy" / "charts"
Object = dict[str, Any]
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""In C where it can be had: a render of 2,000 lines takes a second in Python, and every test looks into some."""


@dataclass(frozen=True)
class Mode:
    """A chart with one of its values files."""

    chart: str
    values: str

    @property
    def chart_folder(self) -> Path:
        return CHARTS / self.chart

    @property
    def values_file(self) -> Path:
        return self.chart_folder / "ci" / f"{self.values}-values.yaml"

    @property
    def release(self) -> str:
        """As deploy/README.md names them."""
        return (
            "plant2"
            if self.values == "second-factory"
            else {"factory": "factory", "factory-kafka": "kafka"}[self.chart]
        )

    def __str__(self) -> str:
        return f"{self.chart}/{self.values}"


MODES = [
    Mode(chart.name, file.name.removesuffix("-values.yaml"))
    for chart in sorted(CHARTS.iterdir())
    for file in sorted((chart / "ci").glob("*-values.yaml"))
]


@dataclass(frozen=True)
class Render:
    mode: Mode
    text: str

    @property
    def objects(self) -> list[Object]:
        return [found for found in yaml.load_all(self.text, Loader=_LOADER) if found]

    def of_kind(self, kind: str) -> list[Object]:
        return [found for found in self.objects if found["kind"] == kind]

    def one(self, kind: str, name_end: str = "") -> Object:
        (found,) = (each for each in self.of_kind(kind) if each["metadata"]["name"].endswith(name_end))
        return found

    def pods(self) -> dict[str, Object]:
        """Every pod that comes of it, by what makes it: {metadata, spec}. Ray's too, autoscaler sidecar included."""
        return {f"{found['kind']}/{where}": pod for found in self.objects for where, pod in pods_of(found)}


def pods_of(found: Object) -> Iterator[tuple[str, Object]]:
    name = found["metadata"]["name"]
    match found["kind"]:
        case "Pod":
            yield name, found
        case "Deployment" | "StatefulSet" | "Job":
            yield name, found["spec"]["template"]
        case "RayService":
            cluster = found["spec"]["rayClusterConfig"]
            head = cluster["headGroupSpec"]["template"]
            yield f"{name}/head", _with_autoscaler(head, cluster)
            for group in cluster["workerGroupSpecs"]:
                yield f"{name}/{group['groupName']}", group["template"]


def _with_autoscaler(head: Object, cluster: Object) -> Object:
    """KubeRay runs Ray's autoscaler beside the head: its container is made of these options and of nothing else."""
    if not cluster.get("enableInTreeAutoscaling"):
        return head
    options = cluster["autoscalerOptions"]
    sidecar = {
        "name": "autoscaler",
        "image": head["spec"]["containers"][0]["image"],
        "command": ["/bin/bash", "-c", "--"],
        "args": ["ray kuberay-autoscaler"],
        **{key: options[key] for key in ("resources", "securityContext", "volumeMounts") if key in options},
    }
    return head | {"spec": head["spec"] | {"containers": [*head["spec"]["containers"], sidecar]}}


def containers(pod: Object) -> list[Object]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def helm(*arguments: str | Path, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Runs Helm, without any configuration of the user's."""
    return subprocess.run(
        [str(kube_tools.helm()), *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout_s, check=False,
        env={
            "HOME": "/nonexistent", "PATH": os.environ["PATH"], "HELM_CACHE_HOME": "/tmp/andon-no-helm-cache",
            "GOGC": "off",  # it lives for a moment, and collecting garbage is a quarter of its work
        },
    )  # fmt: skip


def template(mode: Mode, *more: str | Path, chart: Path | None = None) -> subprocess.CompletedProcess[str]:
    values = ["--values", mode.values_file]
    return helm("template", mode.release, chart or mode.chart_folder, "--namespace", "plant", *values, *more)


def rendered(mode: Mode, *more: str | Path, chart: Path | None = None) -> Render:
    done = template(mode, *more, chart=chart)
    assert done.returncode == 0, done.stderr
    return Render(mode, done.stdout)
