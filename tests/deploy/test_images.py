"""Dockerfiles and the compose file, as far as they can be judged without a Docker engine."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from support import kube_tools
from support.charts import Mode, Render

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "deploy" / "docker").glob("*.Dockerfile"))


@pytest.mark.unit
@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    done = subprocess.run(
        [str(kube_tools.hadolint()), str(dockerfile)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.unit
@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_images_run_as_nobody_from_a_base_of_one_version(dockerfile: Path) -> None:
    text = dockerfile.read_text(encoding="utf-8")
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    assert re.findall(r"^ARG BASE=(.*)$", text, re.MULTILINE) == ["python:3.11.14-slim-bookworm"]
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE}"}
    assert len(re.findall(r"^FROM ", text, re.MULTILINE)) == 2


@pytest.mark.unit
def test_rays_image_has_what_kuberays_probes_call() -> None:
    text = (ROOT / "deploy" / "docker" / "inference.Dockerfile").read_text()
    assert re.search(r"apt-get install .*\bwget\b", text)


@pytest.mark.unit
def test_an_image_asks_for_no_gpu_by_itself() -> None:
    """NVIDIA's runtime gives every GPU of the node to a container whose image says so, asked for or not: Ray's head had
    them all, and so had a replica with `gpus: 0`, which takes one where it sees one."""
    for dockerfile in DOCKERFILES:
        assert "NVIDIA_VISIBLE_DEVICES" not in dockerfile.read_text(encoding="utf-8")


@pytest.mark.unit
def test_kuberay_is_told_the_version_of_ray_that_the_image_holds(plant: Render) -> None:
    pinned = re.search(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert plant.one("RayService")["spec"]["rayClusterConfig"]["rayVersion"] == pinned.group(1)


@pytest.mark.unit
def test_the_images_carry_the_version_that_the_chart_asks_for() -> None:
    chart = yaml.safe_load((Mode("factory", "plant").chart_folder / "Chart.yaml").read_text())
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert chart["appVersion"] == version.group(1)
    for service in compose()["services"].values():
        if "build" in service:
            assert service["image"].endswith(f":{version.group(1)}")


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    return found


@pytest.mark.unit
def test_compose_commands_and_files_exist() -> None:
    from workers.cli import app

    for name, service in compose()["services"].items():
        if service.get("image", "").startswith("andon/worker"):
            command: Any = typer.main.get_command(app)
            words = list(service["command"])
            while words and words[0] in getattr(command, "commands", {}):
                command = command.commands[words.pop(0)]
            known = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= known, name
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file()
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / "deploy" / source).is_file(), source
        for needed in service.get("depends_on", {}):
            assert needed in compose()["services"]
    for config in compose()["configs"].values():
        # Not from `content`, which Compose copies: into containers that are read-only it copies nothing, and gives up.
        assert (ROOT / "deploy" / config["file"]).is_file()


@pytest.mark.unit
def test_compose_opens_the_page_to_this_machine_alone() -> None:
    for name, service in compose()["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert ("ports" in service) == (name == "console")


@pytest.mark.unit
def test_compose_hardens_what_is_ours() -> None:
    for service in compose()["services"].values():
        if "build" in service:
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]


@pytest.mark.unit
def test_compose_keeps_what_kafka_holds_as_long_as_the_cameras_spool() -> None:
    """After `down` and `up` the spool told of 305 frames that a new Kafka had never seen: the audit missed them."""
    kafka, camera = (compose()["services"][name] for name in ("kafka", "camera"))
    kept = {volume.partition(":")[0] for volume in [*kafka["volumes"], *camera["volumes"]]} & set(compose()["volumes"])
    assert kept == {"kafka", "spool"}
    assert f"kafka:{kafka['environment']['KAFKA_LOG_DIRS']}" in kafka["volumes"]


@pytest.mark.unit
def test_compose_asks_a_replica_for_its_health_as_it_answers() -> None:
    """`wget --spider` asks by HEAD, which got 405: a replica that scored was unhealthy for good."""
    command = compose()["services"]["inference"]["healthcheck"]["test"]
    assert "wget" in command
    assert "--spider" not in command


@pytest.mark.unit
def test_users_are_added_where_compose_keeps_the_page_s_data() -> None:
    """`docker compose exec console andon console user add` wrote into a folder that the page did not read."""
    service = compose()["services"]["console"]
    folder = service["environment"]["ANDON_CONSOLE_DATA"]
    assert f"console:{folder}" in service["volumes"]
    assert "--data" not in service["command"]


@pytest.mark.unit
def test_compose_has_policies_without_plcs_that_nobody_has() -> None:
    """Those of the example raised an alarm each before the first frame came."""
    from workers.alerting.policy import Policies

    policies = Policies.model_validate(yaml.safe_load((ROOT / "deploy" / "compose" / "policies.yaml").read_text()))
    assert not policies.lines


@pytest.mark.unit
def test_compose_has_a_camera_configuration_that_works() -> None:
    from workers.camera.config import CameraConfig

    config = CameraConfig.model_validate(yaml.safe_load((ROOT / "deploy" / "compose" / "cameras.yaml").read_text()))
    local = yaml.safe_load((ROOT / "deploy" / "serve" / "local.yaml").read_text())
    recipes = local["applications"][0]["deployments"][0]["user_config"]["recipes"]
    assert all(camera.recipe in recipes for camera in config.cameras)


@pytest.mark.cluster
@pytest.mark.slow
def test_the_worker_image_installs_into_nothing_and_stays_light(tmp_path: Path) -> None:
    """The Dockerfile's own steps, in an empty folder and an empty environment."""
    text = (ROOT / "deploy" / "docker" / "worker.Dockerfile").read_text().replace("\\\n", " ")
    steps = [step.strip() for run in re.findall(r"^RUN (.*)$", text, re.MULTILINE) for step in run.split("&&")]
    for name in ("constraints.txt", "pyproject.toml", "README.md", "LICENSE", "pipeline", "workers"):
        (tmp_path / name).symlink_to(ROOT / name)
    home = tmp_path / "opt-andon"
    uv = Path(sys.executable).with_name("uv")
    ran = 0
    for step in steps:
        if step.startswith("uv "):
            words = (
                step.replace("/opt/andon", str(home)).replace("/tmp/needed.txt", str(tmp_path / "needed.txt")).split()
            )
            subprocess.run([str(uv), *words[1:]], cwd=tmp_path, check=True, timeout=150, capture_output=True)
            ran += 1
    assert ran == 4
    python = str(home / "bin" / "python")
    probe = "import importlib.util as u, workers.cli; print([m for m in ('torch', 'ray', 'scipy') if u.find_spec(m)])"
    done = subprocess.run([python, "-c", probe], cwd="/", check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
    loads = "import av, workers.console.app, workers.console.serve\n"
    for actuator in ("modbus", "opcua", "mqtt", "webhook"):
        loads += f"import workers.alerting.actuators.{actuator}\n"
    subprocess.run([python, "-c", loads], cwd="/", check=True, timeout=60, capture_output=True)
    helped = subprocess.run(
        [str(home / "bin" / "andon"), "camera", "run", "--help"], cwd="/", check=True, timeout=60, capture_output=True
    )
    assert b"--metrics-port" in helped.stdout
