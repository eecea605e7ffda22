"""A real API server admits what the charts render. `make test-cluster`: minutes long with the fetching of its tools.

What it shows: objects are valid, admitted and changed as promised. What it can't: that the operators make a factory of
them. There is no operator, no scheduler and no node here.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import kube_tools
from support.charts import MODES, Mode, Object, Render
from support.kube_cluster import KubeCluster, running_cluster
from support.stream import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]

NAMESPACE = "plant"
NVIDIA = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "nvidia"}
"""As NVIDIA's operator makes it on a GPU cluster."""
FACTORY, KAFKA = Mode("factory", "plant"), Mode("factory-kafka", "plant")
SECOND = Mode("factory-kafka", "second-factory")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeCluster]:
    if not kube_tools.CRDS.is_dir():
        pytest.skip(kube_tools.NO_CRDS)
    if not kube_tools.has_kube_apiserver():
        pytest.skip("no kube-apiserver: neither ../shared/bin/kube-apiserver.xz nor Go to build it")
    try:
        with running_cluster(tmp_path_factory.mktemp("kube")) as cluster:
            cluster.kubectl("apply", "--server-side", "--recursive", "--filename", kube_tools.CRDS)
            # Not `kubectl wait`: it fails when it looks before the server has written the first condition.
            wait_until(lambda: established(cluster), timeout_s=120)
            for found in (namespace(NAMESPACE), NVIDIA):
                cluster.kubectl("apply", "--filename", "-", stdin=json.dumps(found))
            yield cluster
    except kube_tools.ToolError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


def established(cluster: KubeCluster) -> bool:
    crds = json.loads(cluster.kubectl("get", "crd", "--output", "json").stdout)["items"]
    conditions = [crd.get("status", {}).get("conditions") or [] for crd in crds]
    return all({"type": "Established", "status": "True"}.items() <= _named(each).items() for each in conditions)


def _named(conditions: list[Object]) -> Object:
    return next((each for each in conditions if each["type"] == "Established"), {})


def namespace(name: str) -> Object:
    """One that takes restricted pods only."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def names(cluster: KubeCluster, kind: str) -> set[str]:
    found = cluster.kubectl("get", kind, "--namespace", NAMESPACE, "--output", "json").stdout
    return {item["metadata"]["name"] for item in json.loads(found)["items"]}


def one(cluster: KubeCluster, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        cluster.kubectl("get", kind, name, "--namespace", NAMESPACE, "--output", "json").stdout
    )
    return found


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_every_values_file_is_admitted(cluster: KubeCluster, mode: Mode) -> None:
    cluster.helm(
        "install", mode.release, mode.chart_folder, "--namespace", NAMESPACE, "--values", mode.values_file,
        "--dry-run=server",
    )  # fmt: skip


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_no_field_is_unknown_to_the_server(cluster: KubeCluster, renders: dict[Mode, Render], mode: Mode) -> None:
    cluster.kubectl(
        "apply", "--namespace", NAMESPACE, "--server-side", "--dry-run=server", "--validate=strict", "--filename", "-",
        stdin=renders[mode].text,
    )  # fmt: skip


def as_pod(where: str, pod: Object) -> Object:
    """Admission never looks inside a RayService, so its templates are shown to it as pods."""
    name = "".join(letter if letter.isalnum() else "-" for letter in where.lower())
    metadata = {"name": name, "labels": pod["metadata"].get("labels", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod["spec"]}


def admit(cluster: KubeCluster, pod: Object) -> str:
    """What the server says against it."""
    done = cluster.kubectl(
        "create", "--namespace", NAMESPACE, "--dry-run=server", "--validate=strict", "--filename", "-",
        stdin=json.dumps(pod), check=False,
    )  # fmt: skip
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode.chart == "factory"], ids=str)
def test_every_pod_may_run_in_a_restricted_namespace(
    cluster: KubeCluster, renders: dict[Mode, Render], mode: Mode
) -> None:
    pods = renders[mode].pods()
    assert any("RayService" in where for where in pods)
    against = {where: said for where, pod in pods.items() if (said := admit(cluster, as_pod(where, pod)))}
    assert not against


def test_a_pod_that_is_not_restricted_is_refused(cluster: KubeCluster, renders: dict[Mode, Render]) -> None:
    """Guards the test above: without the sidecar's security context the same namespace says no."""
    pod = as_pod(*next((w, p) for w, p in renders[FACTORY].pods().items() if w.endswith("/head")))
    (sidecar,) = (container for container in pod["spec"]["containers"] if container["name"] == "autoscaler")
    del sidecar["securityContext"]
    assert "violates PodSecurity" in admit(cluster, pod)


def test_a_factory_is_installed_upgraded_rolled_back_and_removed(cluster: KubeCluster, tmp_path: Path) -> None:
    factory = ["factory", FACTORY.chart_folder, "--namespace", NAMESPACE, "--values", FACTORY.values_file]
    cluster.helm("install", *factory)
    ray = one(cluster, "rayservice", "factory-inference")
    alerting = one(cluster, "deployment", "factory-alerting")
    assert {"factory-camera-press-1-top", "factory-camera-labels-2"} <= names(cluster, "deployment")

    # A new recipe: the Serve config changes, and nothing that makes a pod.
    cluster.helm("upgrade", *factory, "--set", "recipes.cast-part.bundle=cast-part-radar-2")
    upgraded = one(cluster, "rayservice", "factory-inference")
    assert "cast-part-radar-2" in upgraded["spec"]["serveConfigV2"]
    assert upgraded["spec"]["rayClusterConfig"] == ray["spec"]["rayClusterConfig"]
    assert one(cluster, "deployment", "factory-alerting")["metadata"]["generation"] == 1

    # A removed camera takes its worker away, and leaves the disk with what it may hold.
    values = yaml.safe_load(FACTORY.values_file.read_text())
    del values["lines"]["press-1"]["cameras"]["press-1-side"]
    fewer = tmp_path / "fewer-values.yaml"
    fewer.write_text(yaml.safe_dump(values))
    cluster.helm("upgrade", *factory[:-1], fewer)
    assert "factory-camera-press-1-side" not in names(cluster, "deployment")
    assert "factory-camera-press-1-side" in names(cluster, "persistentvolumeclaim")

    cluster.helm("rollback", "factory", "1", "--namespace", NAMESPACE)
    assert one(cluster, "rayservice", "factory-inference")["spec"] == ray["spec"]
    assert one(cluster, "deployment", "factory-alerting")["spec"] == alerting["spec"]
    assert "factory-camera-press-1-side" in names(cluster, "deployment")

    cluster.helm("uninstall", "factory", "--namespace", NAMESPACE)
    for kind in ("rayservice", "deployment", "networkpolicy", "poddisruptionbudget", "podmonitor", "prometheusrule"):
        assert not names(cluster, kind), kind
    kept = names(cluster, "persistentvolumeclaim")
    assert {"factory-camera-press-1-top", "factory-console"} <= kept
    # The next release takes the volumes over, with what they hold.
    cluster.helm("install", *factory)
    assert names(cluster, "persistentvolumeclaim") == kept
    cluster.helm("uninstall", "factory", "--namespace", NAMESPACE)


def test_a_ray_cluster_that_had_to_make_room_comes_back_with_the_upgrade(cluster: KubeCluster) -> None:
    """As deploy/README.md has whoever lacks GPUs for two clusters do."""
    factory = ["factory", FACTORY.chart_folder, "--namespace", NAMESPACE, "--values", FACTORY.values_file]
    cluster.helm("install", *factory)
    cluster.kubectl("--namespace", NAMESPACE, "delete", "rayservice", "factory-inference")
    cluster.helm("upgrade", *factory, "--set", "images.inference.tag=0.2.0")
    assert "andon/inference:0.2.0" in json.dumps(one(cluster, "rayservice", "factory-inference"))
    cluster.helm("uninstall", "factory", "--namespace", NAMESPACE)


def test_a_ray_cluster_that_runs_gets_its_new_number_of_pods(cluster: KubeCluster) -> None:
    """KubeRay copies the RayService's numbers into a new Ray cluster alone (its issue 4568): Serve asked for more
    replicas, and no pod came for them. Here the test copies, and what Helm's notes print does the rest."""
    factory = ["factory", FACTORY.chart_folder, "--namespace", NAMESPACE, "--values", FACTORY.values_file]
    cluster.helm("install", *factory)
    spec = one(cluster, "rayservice", "factory-inference")["spec"]["rayClusterConfig"]
    runs = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": "factory-inference-7xk2p"},
        "spec": spec,
    }
    cluster.kubectl("apply", "--namespace", NAMESPACE, "--filename", "-", stdin=json.dumps(runs))
    status = {"status": {"activeServiceStatus": {"rayClusterName": "factory-inference-7xk2p"}}}
    cluster.kubectl(
        "patch", "rayservice", "factory-inference", "--namespace", NAMESPACE, "--subresource=status", "--type=merge",
        "--patch", json.dumps(status),
    )  # fmt: skip

    def numbers() -> list[int]:
        (group,) = one(cluster, "raycluster", "factory-inference-7xk2p")["spec"]["workerGroupSpecs"]
        return [group[key] for key in ("minReplicas", "replicas", "maxReplicas")]

    assert numbers() == [1, 1, 8]
    for more, expected in [
        ("inference.autoscaling.minReplicas=8,inference.autoscaling.maxReplicas=48", [2, 1, 12]),
        ("inference.autoscaling.enabled=false,inference.replicas=20", [5, 5, 5]),
    ]:
        notes = cluster.helm("upgrade", *factory, "--set", more).stdout
        (command,) = re.findall(r"^ *(kubectl .* patch raycluster .*)$", notes, re.MULTILINE)
        cluster.shell(command)
        assert numbers() == expected
    cluster.helm("uninstall", "factory", "--namespace", NAMESPACE)
    cluster.kubectl("delete", "raycluster", "factory-inference-7xk2p", "--namespace", NAMESPACE)


def test_kafka_stays_when_its_release_goes(cluster: KubeCluster) -> None:
    cluster.helm("install", "kafka", KAFKA.chart_folder, "--namespace", NAMESPACE, "--values", KAFKA.values_file)
    topics = names(cluster, "kafkatopic")
    assert len(topics) >= 9
    cluster.helm("uninstall", "kafka", "--namespace", NAMESPACE)
    assert names(cluster, "kafka") == {"kafka"}
    assert names(cluster, "kafkatopic") == topics
    assert names(cluster, "kafkanodepool") == {"kafka-brokers", "kafka-controllers"}
    # The next release takes over what is there.
    cluster.helm(
        "install", "kafka", KAFKA.chart_folder, "--namespace", NAMESPACE, "--values", KAFKA.values_file,
        "--take-ownership",
    )  # fmt: skip
    assert names(cluster, "kafkatopic") == topics


def test_a_second_factory_comes_and_goes_beside_the_first(cluster: KubeCluster) -> None:
    """On the Kafka of the test above: one more release in its namespace, and none of the first's objects is touched."""
    before = names(cluster, "kafkatopic") | names(cluster, "kafkauser")
    second = ["plant2", SECOND.chart_folder, "--namespace", NAMESPACE, "--values", SECOND.values_file]
    cluster.helm("install", *second)
    made = (names(cluster, "kafkatopic") | names(cluster, "kafkauser")) - before
    assert {"plant2-frames", "plant2-alerting"} <= made
    assert all(name.startswith("plant2-") for name in made)
    assert names(cluster, "kafka") == {"kafka"}
    cluster.helm("upgrade", *second, "--set", "topics.framePartitions=16")
    assert one(cluster, "kafkatopic", "plant2-frames")["spec"]["partitions"] == 16
    cluster.helm("uninstall", "plant2", "--namespace", NAMESPACE)
    assert names(cluster, "kafkatopic") | names(cluster, "kafkauser") == before | made
    # As its notes say.
    cluster.kubectl(
        "--namespace", NAMESPACE, "delete", "kafkatopics,kafkausers", "-l", "app.kubernetes.io/instance=plant2"
    )
    assert names(cluster, "kafkatopic") | names(cluster, "kafkauser") == before


def test_the_dry_run_is_no_empty_promise(cluster: KubeCluster, renders: dict[Mode, Render]) -> None:
    """Guards the tests above: a field that Strimzi does not know is refused."""
    kafka = next(found for found in renders[KAFKA].objects if found["kind"] == "Kafka")
    kafka["spec"]["zookeeper"] = {"replicas": 3}
    done = cluster.kubectl(
        "apply", "--namespace", NAMESPACE, "--server-side", "--dry-run=server", "--validate=strict", "--filename", "-",
        stdin=yaml.safe_dump(kafka), check=False,
    )  # fmt: skip
    assert done.returncode
    assert "zookeeper" in done.stderr
