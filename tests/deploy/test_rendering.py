"""What the charts render: well formed, known to Kubernetes and to the operators, and changed only on purpose."""

import difflib
import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from support import kube_tools
from support.charts import MODES, Mode, Render, helm, rendered

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
KUBERNETES = "1.37"


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_lint_finds_nothing(mode: Mode) -> None:
    done = helm("lint", "--strict", mode.chart_folder, "--values", mode.values_file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_native_objects_keep_kubernetes_schema(render: Render) -> None:
    for found in render.objects:
        if "." not in found["apiVersion"].split("/")[0] or found["apiVersion"].split("/")[0].endswith(".k8s.io"):
            kubernetes_validate.validate(found, KUBERNETES, strict=True)


def test_operators_objects_keep_their_schemas(render: Render) -> None:
    if not kube_tools.CRDS.is_dir():
        pytest.skip(kube_tools.NO_CRDS)
    for found in render.objects:
        if found["kind"] in _schemas():
            errors = list(_schemas()[found["kind"]].iter_errors(found))
            assert not errors, [f"{found['kind']} {'/'.join(map(str, e.absolute_path))}: {e.message}" for e in errors]


@pytest.mark.parametrize("kind", ["route", "tlsroute"])
def test_strimzi_takes_each_way_in_that_no_values_file_has(kind: str) -> None:
    if not kube_tools.CRDS.is_dir():
        pytest.skip(kube_tools.NO_CRDS)
    told: dict[str, Any] = {"type": kind, "host": "kafka.example", "brokerHost": "kafka-{nodeId}.example"}
    if kind == "tlsroute":
        told["gateway"] = {"name": "lines", "namespace": "gateways", "sectionName": "kafka"}
    kafka = rendered(Mode("factory-kafka", "scram"), "--set-json", f"outside={json.dumps(told | {'nodePort': 0})}")
    errors = [error.message for error in _schemas()["Kafka"].iter_errors(kafka.one("Kafka"))]
    assert not errors


def test_every_kind_is_checked_by_one_of_the_two(render: Render) -> None:
    if not kube_tools.CRDS.is_dir():
        pytest.skip(kube_tools.NO_CRDS)
    groups = {found["apiVersion"].split("/")[0] for found in render.objects if found["kind"] not in _schemas()}
    assert groups <= {"v1", "apps", "batch", "policy", "networking.k8s.io"}


@cache
def _schemas() -> dict[str, jsonschema.Draft202012Validator]:
    found = {}
    for file in kube_tools.CRDS.glob("*/*.yaml"):
        for crd in yaml.load_all(file.read_text(), yaml.CSafeLoader):
            (version,) = (v for v in crd["spec"]["versions"] if v["storage"])
            schema = _closed(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            found[crd["spec"]["names"]["kind"]] = jsonschema.Draft202012Validator(schema)
    return found


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """As the API server reads it: what is not named is dropped, and with strict validation refused."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if "properties" in schema:
        schema["properties"] = {name: _closed(inner) for name, inner in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in schema:
            schema["additionalProperties"] = False
    if "items" in schema:
        schema["items"] = _closed(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        schema["additionalProperties"] = _closed(schema["additionalProperties"])
    return schema


def test_the_render_is_the_one_that_was_last_looked_at(render: Render) -> None:
    """After a change on purpose: ANDON_GOLDEN=write pytest tests/deploy/test_rendering.py, and read the diff."""
    file = GOLDEN / f"{render.mode.chart}-{render.mode.values}.yaml"
    found = _normal(render)
    if os.environ.get("ANDON_GOLDEN") == "write":
        file.write_text(found)
    expected = file.read_text() if file.is_file() else ""
    changes = "\n".join(
        difflib.unified_diff(expected.splitlines(), found.splitlines(), "golden", "now", lineterm="", n=2)
    )
    assert not changes, f"{changes}\n\n{test_the_render_is_the_one_that_was_last_looked_at.__doc__}"


def _normal(render: Render) -> str:
    """Without what changes with every version, and without the dashboards, which are files already."""
    objects = render.objects
    for found in objects:
        labels = found["metadata"].get("labels", {})
        for name in ("helm.sh/chart", "app.kubernetes.io/version"):
            if name in labels:
                labels[name] = "…"
        if "grafana_dashboard" in labels:
            found["data"] = dict.fromkeys(found["data"], "…")
    objects.sort(key=lambda found: (found["kind"], found["metadata"]["name"]))
    return yaml.safe_dump_all(objects, sort_keys=False, allow_unicode=True, width=120)


def test_schemas_readmes_and_topics_are_what_their_sources_say() -> None:
    done = subprocess.run(
        [sys.executable, "deploy/tools/describe_values.py", "--check"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("chart", sorted({mode.chart for mode in MODES}))
def test_every_value_is_described_typed_and_closed(chart: str) -> None:
    schema = json.loads((ROOT / "deploy" / "charts" / chart / "values.schema.json").read_text())
    faults = list(_faults("", schema))
    assert not faults


def _faults(path: str, schema: dict[str, Any]) -> list[str]:
    faults = []
    if not {"type", "enum", "anyOf", "const"} & set(schema):
        faults.append(f"{path} has no type")
    if "properties" in schema:
        if schema.get("additionalProperties") is not False:
            faults.append(f"{path} takes any key")
        for name, inner in schema["properties"].items():
            if not inner.get("description"):
                faults.append(f"{path}.{name} has no description")
            if name != "global":
                faults += _faults(f"{path}.{name}", inner)
    elif "then" in schema:
        faults += _faults(f"{path}|", schema["then"])
        if "then" in schema["else"]:  # and not what `type` may be, which comes last
            faults += _faults(path, {"type": "object"} | schema["else"])
    elif "patternProperties" in schema:
        if schema.get("additionalProperties") is not False:
            faults.append(f"{path} takes any name")
        for inner in schema["patternProperties"].values():
            faults += _faults(f"{path}[]", inner)
    elif schema.get("type") == "object" and not isinstance(schema.get("additionalProperties"), dict):
        faults.append(f"{path} takes anything")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            faults += _faults(f"{path}[]", schema[key])
    for form in schema.get("anyOf", []):
        faults += _faults(f"{path}|", form)
    return faults


@pytest.mark.parametrize("mode", [Mode("factory", "minimal"), Mode("factory-kafka", "trial")], ids=str)
def test_a_chart_needs_nothing_but_its_own_folder(mode: Mode, tmp_path: Path) -> None:
    """It is vendored, mirrored, or checked out where there are no links: then it lacked a file."""
    alone = tmp_path / mode.chart
    shutil.copytree(mode.chart_folder, alone, symlinks=True)
    assert not [path for path in alone.rglob("*") if path.is_symlink()]
    assert rendered(mode, chart=alone).objects
