"""What the charts promise about what they render, in every mode."""

import gzip
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.charts import MODES, Mode, Object, Render, containers, helm, rendered

from pipeline.replica.recipes import Recipe
from pipeline.settings import Settings
from pipeline.topics import topics
from workers.alerting.policy import Policies
from workers.camera.config import CameraConfig

pytestmark = pytest.mark.unit


def test_every_container_is_restricted_rays_sidecar_too(factory: Render) -> None:
    for where, pod in factory.pods().items():
        security = pod["spec"]["securityContext"]
        assert (security["runAsNonRoot"], security["seccompProfile"]) == (True, {"type": "RuntimeDefault"}), where
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            }, f"{where}/{container['name']}"


def test_every_container_says_what_it_needs_and_how_much_memory_it_may_take(factory: Render) -> None:
    for where, pod in factory.pods().items():
        for container in containers(pod):
            resources = container["resources"]
            assert resources["requests"]["memory"], f"{where}/{container['name']}"
            assert resources["limits"]["memory"], f"{where}/{container['name']}"


def test_a_name_that_yaml_has_another_meaning_for_stays_a_name(plant: Render) -> None:
    """A Secret may be called yes."""
    keys = (
        "images.pullSecrets[0]", "priorityClassName", "redis.existingSecret", "bundles.claim.existingClaim",
        "console.data.existingClaim",
        "kafka.users.alerting.existingSecret", "cameras.spool.storageClass", "inference.worker.runtimeClassName",
        "inference.http.existingSecret", "inference.faultTolerance.existingSecret", "kafka.tls.existingSecret",
    )  # fmt: skip
    other, found = (
        rendered(plant.mode, "--set-string", ",".join(f"{key}={name}" for key in keys)).objects
        for name in ("other", "yes")
    )
    assert repr(found) == repr(other).replace("'other'", "'yes'")


def test_what_is_nothing_by_default_may_be_left_empty(plant: Render) -> None:
    """`extraEnv:` with its list commented out is null."""
    empty = ("extraEnv", "inference.extraEnv", "networkPolicy.kafka.morePorts", "console.hosts", "priorityClassName")
    assert rendered(plant.mode, "--set", ",".join(f"{key}=null" for key in empty)).objects


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode.values in ("plant", "second-factory")], ids=str)
def test_a_release_and_a_reader_may_be_called_yes(mode: Mode) -> None:
    """Or `on`, as a plant in Ontario is. No API server takes a truth value for a name or a label."""
    found, other = (_called(name, mode) for name in ("yes", "zzz"))
    assert found == other.replace("zzz", "yes")


def _called(name: str, mode: Mode) -> str:
    readers = ["--set", f"security.readers={{{name}}}"] if mode.chart == "factory-kafka" else []
    done = helm("template", name, mode.chart_folder, "--values", mode.values_file, *readers)
    assert done.returncode == 0, done.stderr
    return str(Render(mode, done.stdout).objects)


def test_every_mount_has_its_volume_and_every_volume_a_mount(factory: Render) -> None:
    for where, pod in factory.pods().items():
        volumes = [volume["name"] for volume in pod["spec"].get("volumes", [])]
        mounts = {mount["name"] for container in containers(pod) for mount in container.get("volumeMounts", [])}
        assert sorted(mounts) == sorted(volumes), where


def test_nothing_can_talk_to_the_api_server_but_rays_autoscaler(factory: Render) -> None:
    for where, pod in factory.pods().items():
        autoscaled = any(container["name"] == "autoscaler" for container in containers(pod))
        assert pod["spec"].get("automountServiceAccountToken", True) is autoscaled, where


def test_no_secret_is_rendered(render: Render) -> None:
    assert not render.of_kind("Secret")


def test_every_pod_is_covered_by_a_policy_of_its_own_beside_default_deny(factory: Render) -> None:
    policies = factory.of_kind("NetworkPolicy")
    if factory.mode.values == "open-platform":
        assert not policies
        return
    for where, pod in factory.pods().items():
        labels = pod["metadata"]["labels"].items()
        mine = [p for p in policies if p["spec"]["podSelector"]["matchLabels"].items() <= labels]
        assert len(mine) == 2, f"{where}: {[p['metadata']['name'] for p in mine]}"
        assert all(p["spec"]["policyTypes"] == ["Ingress", "Egress"] for p in mine)
    deny = factory.one("NetworkPolicy", "default-deny")
    assert not {"ingress", "egress"} & set(deny["spec"])


def test_what_runs_before_an_upgrade_brings_the_policy_that_lets_it_out(renders: dict[Mode, Render]) -> None:
    """Until then those of the former values hold, which know another address of Kafka."""
    found = renders[Mode("factory", "passwords")]
    job = found.one("Job", "-topics")
    events = job["metadata"]["annotations"]["helm.sh/hook"]
    assert {"pre-install", "pre-upgrade"} == set(events.split(","))
    labels = job["spec"]["template"]["metadata"]["labels"].items()
    (policy,) = (
        each
        for each in found.of_kind("NetworkPolicy")
        if each["spec"]["podSelector"]["matchLabels"].items() <= labels and each["spec"].get("egress")
    )
    annotations = policy["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == events
    assert int(annotations["helm.sh/hook-weight"]) < int(job["metadata"]["annotations"].get("helm.sh/hook-weight", 0))
    assert {53, 9094, 9095} <= {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}


def test_names_are_asked_for_where_openshifts_dns_listens_too(plant: Render) -> None:
    """Its pods are at 5353, and a policy goes by the port of the pod, not by the Service's 53."""
    wanted = {(port, protocol) for port in (53, 5353) for protocol in ("UDP", "TCP")}
    policies = [each for each in plant.of_kind("NetworkPolicy") if each["spec"].get("egress")]
    assert len(policies) == 6
    for policy in policies:
        dns, *others = policy["spec"]["egress"]
        assert {(port["port"], port["protocol"]) for port in dns["ports"]} == wanted, policy["metadata"]["name"]
        assert dns["to"]
        assert all(port["protocol"] == "TCP" for rule in others for port in rule.get("ports", []))


def test_rays_job_interface_is_for_ray_and_its_operator_alone(plant: Render) -> None:
    policy = plant.one("NetworkPolicy", "inference-head")
    for rule in policy["spec"]["ingress"]:
        if not rule.get("ports") or 8265 in [port["port"] for port in rule["ports"]]:
            for peer in rule["from"]:
                is_ray = peer.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/component", "")
                is_operator = peer.get("namespaceSelector", {}).get("matchLabels", {}).values()
                assert is_ray.startswith("inference-") or "kuberay-operator" in is_operator
    assert plant.one("RayService")["spec"]["rayClusterConfig"]["authOptions"]["mode"] == "token"


def test_only_replicas_hold_kafka_and_redis_secrets_in_ray(plant: Render) -> None:
    head, worker = (pod for where, pod in plant.pods().items() if where.startswith("RayService"))
    assert "secrets" not in [volume["name"] for volume in head["spec"]["volumes"]]
    assert "secrets" in [volume["name"] for volume in worker["spec"]["volumes"]]
    assert head["spec"]["containers"][0]["env"][0]["name"] != "KAFKA_BOOTSTRAP"


def test_ray_sets_its_own_probes_and_names(factory: Render) -> None:
    cluster = factory.one("RayService")["spec"]["rayClusterConfig"]
    assert "headService" not in cluster["headGroupSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert "name" not in group["template"]["metadata"]
        for container in group["template"]["spec"]["containers"]:
            assert not {"livenessProbe", "readinessProbe", "startupProbe"} & set(container)


def test_rays_shared_memory_holds_its_object_store(factory: Render) -> None:
    cluster = factory.one("RayService")["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (memory,) = (v for v in group["template"]["spec"]["volumes"] if v["name"] == "shared-memory")
        mib = int(memory["emptyDir"]["sizeLimit"].removesuffix("Mi"))
        assert int(group["rayStartParams"]["object-store-memory"]) < mib * 1024**2


def test_rays_logs_fit_into_the_folder_that_they_lie_in(factory: Render) -> None:
    """A pod whose /tmp outgrows its limit is evicted, with the replicas in it."""
    cluster = cluster_of(factory)
    (deployment,) = serve_config(factory)["applications"][0]["deployments"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        named = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
        each = int(named["RAY_ROTATION_MAX_BYTES"]) * (1 + int(named["RAY_ROTATION_BACKUP_COUNT"]))
        # Of a replica: Serve's log, standard error and standard output. Ray's own processes write some twenty more.
        logs = 20 + 3 * deployment["max_replicas_per_node"]
        (tmp,) = (v for v in pod["volumes"] if v["name"] == "tmp")
        assert logs * each < int(tmp["emptyDir"]["sizeLimit"].removesuffix("Gi")) * 1024**3


def cluster_of(render: Render) -> Object:
    found: Object = render.one("RayService")["spec"]["rayClusterConfig"]
    return found


def pods_without_ray(render: Render) -> dict[str, Object]:
    return {where: pod for where, pod in render.pods().items() if not where.startswith(("RayService", "Pod/"))}


def test_a_new_chart_version_touches_no_pod(plant: Render, tmp_path: Path) -> None:
    chart = tmp_path / "factory"
    shutil.copytree(plant.mode.chart_folder, chart)
    facts = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump(facts | {"version": "0.99.0"}))
    bumped = rendered(plant.mode, chart=chart)
    assert "0.99.0" in bumped.text
    assert cluster_of(bumped) == cluster_of(plant)
    assert pods_without_ray(bumped) == pods_without_ray(plant)


def test_a_changed_recipe_touches_no_pod(plant: Render) -> None:
    after = rendered(
        plant.mode, "--set", "recipes.cast-part.bundle=cast-part-radar-2,recipes.cast-part.late_after_s=20"
    )
    assert cluster_of(after) == cluster_of(plant)
    assert pods_without_ray(after) == pods_without_ray(plant)
    serve = after.one("RayService")["spec"]["serveConfigV2"]
    assert "cast-part-radar-2" in serve
    assert serve != plant.one("RayService")["spec"]["serveConfigV2"]


def test_other_limits_of_autoscaling_change_nothing_that_kuberay_hashes(plant: Render) -> None:
    """KubeRay leaves the numbers of replicas out of the hash that decides about a new cluster."""

    def hashed(render: Render) -> Object:
        cluster = cluster_of(render)
        for group in cluster["workerGroupSpecs"]:
            for name in ("replicas", "minReplicas", "maxReplicas"):
                group.pop(name)
        return cluster

    after = rendered(plant.mode, "--set", "inference.autoscaling.minReplicas=8,inference.autoscaling.maxReplicas=40")
    assert hashed(after) == hashed(plant)


def test_a_changed_policy_restarts_alerting_and_the_page_alone(plant: Render) -> None:
    after = rendered(plant.mode, "--set", "lines.press-1.stop.k=4")
    before, now = plant.pods(), after.pods()
    assert {where for where in now if now[where] != before[where]} == {
        "Deployment/factory-alerting",
        "Deployment/factory-console",
    }


def test_a_changed_camera_restarts_its_worker_alone(plant: Render) -> None:
    after = rendered(plant.mode, "--set", "lines.labels-2.cameras.labels-2-back.source.fps=7")
    before, now = plant.pods(), after.pods()
    assert [where for where in now if now[where] != before[where]] == ["Deployment/factory-camera-labels-2"]


def test_two_renders_are_the_same(plant: Render) -> None:
    assert rendered(plant.mode).text == plant.text


def test_alerting_workers_that_judge_stay_until_one_of_the_new_does(plant: Render) -> None:
    (alerting,) = plant.one("Deployment", "-alerting")["spec"]["template"]["spec"]["containers"]
    assert alerting["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    for probe in ("startupProbe", "livenessProbe"):  # who waits for Kafka is not ill
        assert alerting[probe]["httpGet"]["path"] == "/healthz"


def test_camera_workers_are_never_two_and_block_no_drain(factory: Render) -> None:
    budgets = [b["spec"]["selector"]["matchLabels"] for b in factory.of_kind("PodDisruptionBudget")]
    for found in factory.of_kind("Deployment"):
        if "-camera-" in found["metadata"]["name"]:
            assert (found["spec"]["replicas"], found["spec"]["strategy"]) == (1, {"type": "Recreate"})
            assert not any(b.items() <= found["spec"]["template"]["metadata"]["labels"].items() for b in budgets)


def test_the_page_is_never_two_and_blocks_no_drain(factory: Render) -> None:
    pages = [found for found in factory.of_kind("Deployment") if found["metadata"]["name"].endswith("-console")]
    assert len(pages) == (factory.mode.values != "minimal")
    for page in pages:
        assert (page["spec"]["replicas"], page["spec"]["strategy"]) == (1, {"type": "Recreate"})
        assert not [b for b in factory.of_kind("PodDisruptionBudget") if b["metadata"]["name"].endswith("-console")]
        (data,) = (v for v in page["spec"]["template"]["spec"]["volumes"] if v["name"] == "data")
        claim = factory.one("PersistentVolumeClaim", data["persistentVolumeClaim"]["claimName"])
        assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_only_the_page_may_write_operations(plant: Render) -> None:
    """By its Kafka user, whom nobody else has."""
    holders = {
        where
        for where, pod in plant.pods().items()
        for volume in pod["spec"]["volumes"]
        if volume["name"] == "secrets"
        if "factory-kafka-operator" in [source["secret"]["name"] for source in volume["projected"]["sources"]]
    }
    assert holders == {"Deployment/factory-console"}


def test_a_service_leads_to_a_port_that_its_pods_open(factory: Render) -> None:
    for service in factory.of_kind("Service"):
        wanted = service["spec"]["selector"].items()
        (pod,) = (pod for pod in factory.pods().values() if wanted <= pod["metadata"]["labels"].items())
        ports = {port["name"] for container in containers(pod) for port in container.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_who_logs_in_elsewhere_comes_through_the_sidecar_alone(renders: dict[Mode, Render]) -> None:
    render = renders[Mode("factory", "passwords")]
    pod = render.pods()["Deployment/factory-console"]
    page, login = containers(pod)
    assert page["args"][page["args"].index("--proxy-from") + 1] == "127.0.0.1"
    assert "--upstream=http://127.0.0.1:8484" in login["args"]
    assert render.one("Service", "-console")["spec"]["ports"][0]["targetPort"] == "login"
    policy = render.one("NetworkPolicy", "-console")
    opened = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
    assert opened == {4180, 9100}


def test_the_page_says_tls_only_where_it_is_so(factory: Render) -> None:
    """Its probes speak as it does, and cookies are for TLS alone where TLS ends in front of it."""
    for where, pod in factory.pods().items():
        for container in containers(pod):
            if container["name"] == "console":
                tls = "--tls-certificate" in container["args"]
                assert container["livenessProbe"]["httpGet"]["scheme"] == ("HTTPS" if tls else "HTTP"), where
                assert factory.one("Service", "-console")["spec"]["ports"][0]["port"] == (443 if tls else 80)


def changed(plant: Render, tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> Render:
    """With values that a second file could not take away again."""
    values = yaml.safe_load(plant.mode.values_file.read_text())
    change(values)
    file = tmp_path / "changed.yaml"
    file.write_text(yaml.safe_dump(values))
    done = helm("template", plant.mode.release, plant.mode.chart_folder, "--namespace", "plant", "--values", file)
    assert done.returncode == 0, done.stderr
    return Render(plant.mode, done.stdout)


def test_an_empty_list_of_peers_opens_nothing(plant: Render, tmp_path: Path) -> None:
    """Kubernetes would take an empty `from` for everybody, and an empty `to` for everywhere."""

    def empty(values: dict[str, Any]) -> None:
        for line in values["lines"].values():
            line["cameras"] = {}
            line["stop"].pop("actuator")
        values["recipes"] = {"cast-part": {"bundle": "cast-part-radar"}}
        nothing: dict[str, Any] = {"monitoring": {"from": []}, "kuberay": {"from": []}}
        values["networkPolicy"] |= nothing | {"camera": {"cidrs": []}, "plc": {"cidrs": [], "morePorts": [502]}}
        values["console"]["allowFrom"] = []

    render = changed(plant, tmp_path, empty)
    for policy in render.of_kind("NetworkPolicy"):
        for rule in policy["spec"].get("ingress") or []:
            assert rule["from"], policy["metadata"]["name"]
        for rule in policy["spec"].get("egress") or []:
            assert rule.get("to", "left out on purpose"), policy["metadata"]["name"]
    page = render.one("NetworkPolicy", "-console")["spec"]
    assert "ingress" not in page
    assert "Ingress" in page["policyTypes"]
    alerting = render.one("NetworkPolicy", "-alerting")["spec"]["egress"]
    assert 502 not in {port["port"] for rule in alerting for port in rule["ports"]}


def test_a_factory_without_cameras_of_its_own_serves_those_that_run_elsewhere(plant: Render, tmp_path: Path) -> None:
    def elsewhere(values: dict[str, Any]) -> None:
        values["lines"] = {}
        values["recipes"] = {"cast-part": {"bundle": "cast-part-radar", "moreCameras": ["edge-*"]}}
        values["tests"] = {"enabled": False}

    render = changed(plant, tmp_path, elsewhere)
    (deployment,) = serve_config(render)["applications"][0]["deployments"]
    assert deployment["user_config"]["recipes"]["cast-part"]["cameras"] == ["edge-*"]
    assert not [found for found in render.of_kind("Deployment") if "-camera-" in found["metadata"]["name"]]


def test_policies_open_the_ports_of_the_cameras_and_plcs_that_there_are(plant: Render) -> None:
    def ports(name: str, network: str) -> set[int]:
        rules = plant.one("NetworkPolicy", name)["spec"]["egress"]
        blocks = [r for r in rules if {"ipBlock": {"cidr": network}} in r.get("to", [])]
        return {port["port"] for rule in blocks for port in rule["ports"]}

    assert ports("-camera", "10.20.0.0/24") == {554}
    assert ports("-alerting", "10.20.1.0/24") == {502, 8883}
    other = rendered(plant.mode, "--set", "lines.press-1.cameras.press-1-top.source.url=rtsp://10.20.0.11:10554/s").one(
        "NetworkPolicy", "-camera"
    )
    assert 10554 in {port["port"] for rule in other["spec"]["egress"] for port in rule["ports"]}


def test_environment_and_egress_of_ones_own_reach_every_process(plant: Render) -> None:
    for where, pod in plant.pods().items():
        for container in containers(pod):
            named = {e["name"] for e in container.get("env", [])}
            if "KAFKA_BOOTSTRAP" in named:
                assert "OTEL_EXPORTER_OTLP_ENDPOINT" in named, where
    for name in ("-camera", "-alerting", "-console", "-inference-worker", "-check"):
        rules = plant.one("NetworkPolicy", name)["spec"]["egress"]
        # Where a collector takes OTLP by HTTP, which is what Andon speaks; 4317 is gRPC's.
        assert any(rule.get("ports") == [{"port": 4318, "protocol": "TCP"}] for rule in rules), name


def test_what_fetches_bundles_or_logs_people_in_can_go_by_a_proxy() -> None:
    by_proxy = [
        f"--set={where}[0].name=HTTPS_PROXY,{where}[0].value=http://proxy.example:3128"
        for where in ("extraEnv", "console.proxy.extraEnv")
    ]
    render = rendered(Mode("factory", "passwords"), *by_proxy)
    found = {
        container["name"]: [each["value"] for each in container.get("env", []) if each["name"] == "HTTPS_PROXY"]
        for pod in render.pods().values()
        for container in containers(pod)
    }
    assert found["bundles"] == found["login"] == ["http://proxy.example:3128"]


def test_an_authority_of_ones_own_reaches_what_fetches_bundles(renders: dict[Mode, Render]) -> None:
    """Artifact servers inside a plant are signed by it."""
    pod = renders[Mode("factory", "passwords")].pods()["RayService/factory-inference/replicas"]
    (fetch,) = pod["spec"]["initContainers"]
    (file,) = (one["value"] for one in fetch["env"] if one["name"] == "SSL_CERT_FILE")
    (mount,) = (mount for mount in fetch["volumeMounts"] if file == f"{mount['mountPath']}/ca.crt")
    (volume,) = (volume for volume in pod["spec"]["volumes"] if volume["name"] == mount["name"])
    assert volume["secret"] == {"secretName": "artifacts-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}


def test_an_issuers_authority_reaches_what_logs_people_in(renders: dict[Mode, Render]) -> None:
    """As another key of its Secret."""
    pod = renders[Mode("factory", "passwords")].pods()["Deployment/factory-console"]
    (login,) = (volume for volume in pod["spec"]["volumes"] if volume["name"] == "login")
    assert login["secret"] == {"secretName": "andon-oidc", "defaultMode": 0o440}


def test_every_pod_finds_its_nodes_where_all_are_tainted(factory: Render, tmp_path: Path) -> None:
    """Also those that have no values of their own: a job that waits for a node would hold up the whole install."""
    taint = {"key": "hall", "operator": "Exists", "effect": "NoSchedule"}
    more = tmp_path / "more.yaml"
    everywhere = {"tolerations": [taint], "nodeSelector": {"hall": "3"}, "priorityClassName": "lines"}
    more.write_text(yaml.safe_dump(everywhere))
    own = yaml.safe_load(factory.mode.values_file.read_text())
    for where, pod in rendered(factory.mode, "--values", more).pods().items():
        spec = pod["spec"]
        assert spec["priorityClassName"] == "lines", where
        if factory.mode.values == "plant" and ("camera" in where or "replicas" in where):
            table = own["cameras"] if "camera" in where else own["inference"]["worker"]
            assert (spec["tolerations"], spec["nodeSelector"]) == (table["tolerations"], table["nodeSelector"]), where
        else:
            assert (spec["tolerations"], spec["nodeSelector"]) == ([taint], {"hall": "3"}), where


def test_a_namespace_with_a_quota_of_cores_can_take_every_pod(factory: Render, tmp_path: Path) -> None:
    """There each container must name its limit, in the values or by itself."""
    one: dict[str, Any] = {"resources": {"limits": {"cpu": "1"}}}
    more = tmp_path / "more.yaml"
    more.write_text(yaml.safe_dump({"cameras": one, "alerting": one, "console": one | {"proxy": one}}))
    for where, pod in rendered(factory.mode, "--values", more).pods().items():
        for container in containers(pod):
            assert container["resources"]["limits"]["cpu"], f"{where}/{container['name']}"


def test_the_trial_takes_its_redis_from_where_the_nodes_do() -> None:
    """deploy/README.md has two images built and pushed, and this is neither."""
    redis = rendered(Mode("factory", "trial"), "--set", "images.registry=registry.example/").one("StatefulSet")
    assert redis["spec"]["template"]["spec"]["containers"][0]["image"].startswith("valkey/valkey:")


def test_names_that_people_give_become_names_that_kubernetes_takes(plant: Render, tmp_path: Path) -> None:
    camera = {"station_id": "s", "recipe": "cast-part", "existingSecret": "login"}
    ids = ["A" * 20 + "__", "x.y_Z-", "0", "L" * 64]
    lines = {
        "Halle_3.Linie-" + "n" * 40: {
            "stop": {"action": "ALARM_ONLY"},
            "existingSecret": "plc",
            "cameras": {
                name: camera | {"worker": "all", "source": {"type": "video", "url": f"rtsp://10.20.0.{n}/s"}}
                for n, name in enumerate(ids)
            },
        },
        "halle-3-linie-" + "n" * 40: {"stop": {"action": "ALARM_ONLY"}, "existingSecret": "plc-2"},
    }
    more = tmp_path / "more.yaml"
    more.write_text(yaml.safe_dump({"lines": lines}))
    render = rendered(plant.mode, "--values", more)
    for where, pod in render.pods().items():
        names = [volume["name"] for volume in pod["spec"].get("volumes", [])]
        assert len(names) == len(set(names)), where
        assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name) for name in names), where
    mounts = render.pods()["Deployment/factory-camera-all"]["spec"]["containers"][0]["volumeMounts"]
    assert {f"/run/secrets/cameras/{name}" for name in ids} <= {mount["mountPath"] for mount in mounts}
    alone = {"press-1": {"cameras": {"Zz__": camera | {"source": {"type": "video", "url": "rtsp://10.20.0.9/s"}}}}}
    more.write_text(yaml.safe_dump({"lines": alone}))
    assert rendered(plant.mode, "--values", more).one("Deployment", "-camera-zz")


def test_large_numbers_stay_whole(plant: Render, tmp_path: Path) -> None:
    """Helm reads numbers of files as floats: 1000680000 would become 1.00068e+09."""
    more = tmp_path / "more.yaml"
    scaled = {"autoscaling": {"enabled": True, "lagThreshold": 1_000_000}, "pdb": {"minAvailable": 1}}
    user = {"runAsUser": 1_000_680_000, "fsGroup": 1_000_680_000}
    more.write_text(yaml.safe_dump({"podSecurity": user, "alerting": scaled}))
    render = rendered(plant.mode, "--values", more)
    assert not re.search(r"\de\+\d", render.text)
    for pod in render.pods().values():
        assert pod["spec"]["securityContext"]["runAsUser"] == 1_000_680_000
    assert render.one("ScaledObject")["spec"]["triggers"][0]["metadata"]["lagThreshold"] == "1000000"


def test_two_hundred_cameras_render_and_fit_into_what_helm_stores(plant: Render, tmp_path: Path) -> None:
    def camera(number: int) -> dict[str, Any]:
        source = {"type": "video", "url": f"rtsp://10.20.0.{number % 250}/s"}
        return {"station_id": "s", "recipe": "cast-part", "source": source}

    lines = {
        f"hall-{hall}": {
            "stop": {"action": "ALARM_ONLY"},
            "cameras": {f"cam-{hall}-{number:02}": camera(number) for number in range(50)},
        }
        for hall in range(4)
    }
    more = tmp_path / "more.yaml"
    more.write_text(yaml.safe_dump({"lines": lines}))
    render = rendered(plant.mode, "--values", more)
    workers = [found for found in render.of_kind("Deployment") if "-camera-" in found["metadata"]["name"]]
    assert len(workers) == 200 + 3
    # A release is one Secret of at most a MiB: gzip of manifest, chart and values, in base64 twice.
    assert len(gzip.compress(render.text.encode())) * 16 / 9 < 512 * 1024


def test_keda_over_tls_without_an_authority_or_users_of_its_own_asks_for_no_secret(plant: Render) -> None:
    kafka = "kafka.auth.type=none,kafka.tls.existingSecret=,kafka.tls.enabled=true"
    render = rendered(
        plant.mode, "--set", kafka, "--set", "alerting.autoscaling.enabled=true,alerting.pdb.minAvailable=1"
    )
    assert not render.of_kind("TriggerAuthentication")
    trigger = render.one("ScaledObject")["spec"]["triggers"][0]
    assert "authenticationRef" not in trigger
    assert trigger["metadata"]["tls"] == "enable"


def test_budgets_let_at_least_one_pod_go(factory: Render) -> None:
    pods = {"alerting": factory.one("Deployment", "-alerting")["spec"].get("replicas", 2), "inference-worker": 1}
    group = cluster_of(factory)["workerGroupSpecs"][0]
    pods["inference-worker"] = group["minReplicas"]
    for budget in factory.of_kind("PodDisruptionBudget"):
        component = budget["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]
        assert budget["spec"].get("minAvailable", 0) < pods[component], budget["metadata"]["name"]
        assert {"minAvailable", "maxUnavailable"} & set(budget["spec"]) != {"minAvailable", "maxUnavailable"}
        if component == "inference-worker":  # its owner has no scale subresource
            assert isinstance(budget["spec"]["minAvailable"], int)


def test_keda_owns_the_number_that_it_scales(renders: dict[Mode, Render]) -> None:
    render = renders[Mode("factory", "passwords")]
    scaled = render.one("ScaledObject")["spec"]
    target = render.one("Deployment", "-alerting")
    assert scaled["scaleTargetRef"]["name"] == target["metadata"]["name"]
    assert "replicas" not in target["spec"]
    own = topics("plant1.")
    trigger = scaled["triggers"][0]["metadata"]
    assert trigger["topic"] == own.scores.name
    assert trigger["consumerGroup"] == "plant1.andon-alerting"
    assert scaled["maxReplicaCount"] <= own.scores.partitions
    (name,) = (each["name"] for each in render.one("TriggerAuthentication")["spec"]["env"])
    assert name in [entry["name"] for entry in target["spec"]["template"]["spec"]["containers"][0]["env"]]


def test_alerting_workers_stay_a_while_before_they_are_too_many(renders: dict[Mode, Render]) -> None:
    """Above one worker the autoscaler of Kubernetes decides, and KEDA's cooldownPeriod is for the way to none alone."""
    scaled = renders[Mode("factory", "passwords")].one("ScaledObject")["spec"]
    assert scaled["minReplicaCount"] >= 1
    assert "cooldownPeriod" not in scaled
    behavior = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior == {"scaleDown": {"stabilizationWindowSeconds": 600}}


def test_the_spool_fits_onto_its_volume(factory: Render) -> None:
    for claim in factory.of_kind("PersistentVolumeClaim"):
        if claim["metadata"]["name"].endswith("-console"):
            continue
        config = factory.one("ConfigMap", claim["metadata"]["name"])
        max_mib = yaml.safe_load(config["data"]["cameras.yaml"])["spool"]["max_mib"]
        assert int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Mi")) > max_mib * 1.05


def test_what_processes_read_is_what_they_take(factory: Render) -> None:
    for config in factory.of_kind("ConfigMap"):
        data = config["data"]
        if "cameras.yaml" in data:
            CameraConfig.model_validate(yaml.safe_load(data["cameras.yaml"]))
        if "policies.yaml" in data:
            Policies.model_validate(yaml.safe_load(data["policies.yaml"]))


def test_every_camera_of_the_values_is_sent_by_exactly_one_worker(factory: Render) -> None:
    values = yaml.safe_load(factory.mode.values_file.read_text())
    wanted = sorted(name for line in values["lines"].values() for name in line["cameras"])
    sent = sorted(
        camera["camera_id"]
        for config in factory.of_kind("ConfigMap")
        if "cameras.yaml" in config["data"]
        for camera in yaml.safe_load(config["data"]["cameras.yaml"])["cameras"]
    )
    assert sent == wanted


def test_settings_come_out_of_the_environment_and_the_secret_files(factory: Render, tmp_path: Path) -> None:
    """Each process would find its Kafka user, its certificate or password, and its Redis login."""
    values = yaml.safe_load(factory.mode.values_file.read_text())
    auth = values["kafka"].get("auth", {}).get("type", "none")
    for where, pod in factory.pods().items():
        for container in containers(pod):
            environment = {e["name"]: e["value"] for e in container.get("env", []) if "value" in e}
            if "KAFKA_BOOTSTRAP" not in environment:
                continue
            secrets = tmp_path / re.sub(r"\W", "-", where)
            secrets.mkdir()
            files = _secret_files(pod)
            for name in files:
                (secrets / name).write_text(f"secret-{name}")
            settings = _settings(environment, secrets)
            assert settings.kafka_bootstrap == values["kafka"]["bootstrap"]
            if auth == "mtls":
                assert settings.kafka_security_protocol == "SSL"
                assert {
                    Path(str(settings.kafka_ssl_certfile)).name,
                    Path(str(settings.kafka_ssl_keyfile)).name,
                } <= files
            if auth.startswith("scram"):
                assert (settings.kafka_security_protocol, settings.kafka_sasl_mechanism) == ("SASL_SSL", auth.upper())
                assert settings.kafka_sasl_username
                assert settings.kafka_sasl_password
            if "REDIS_URL" in environment and values["redis"].get("existingSecret"):
                assert (settings.redis_login() or ("", ""))[1] == "secret-REDIS_PASSWORD"


def _settings(environment: dict[str, str], secrets: Path) -> Settings:
    with pytest.MonkeyPatch.context() as patch:
        for name in Settings.model_fields:
            patch.delenv(name.upper(), raising=False)
        patch.delenv("REDIS_URL", raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        return Settings(_secrets_dir=secrets)


def _secret_files(pod: Object) -> set[str]:
    for volume in pod["spec"].get("volumes", []):
        if volume["name"] == "secrets":
            return {item["path"] for source in volume["projected"]["sources"] for item in source["secret"]["items"]}
    return set()


def serve_config(render: Render) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(render.one("RayService")["spec"]["serveConfigV2"])
    return found


def test_rays_own_schema_takes_the_serve_config(factory: Render) -> None:
    from ray.serve.schema import ServeDeploySchema

    from pipeline.serving import ServingConfig

    schema = ServeDeploySchema.model_validate(serve_config(factory))
    (deployment,) = schema.applications[0].deployments
    ServingConfig.model_validate(deployment.user_config)


def test_what_a_large_frame_needs_can_be_set(plant: Render) -> None:
    """docs/operations.md tells to raise it."""
    after = rendered(plant.mode, "--set", "inference.stuckAfterS=240")
    (deployment,) = serve_config(after)["applications"][0]["deployments"]
    assert deployment["user_config"]["stuck_after_s"] == 240
    assert cluster_of(after) == cluster_of(plant)


def test_the_serve_config_is_the_local_one_but_for_what_a_cluster_changes(plant: Render) -> None:
    local = yaml.safe_load((Path(__file__).parents[2] / "deploy" / "serve" / "local.yaml").read_text())
    found = serve_config(plant)
    for config in (local, found):
        config.pop("proxy_location")
        config["http_options"].pop("host")
        (deployment,) = config["applications"][0]["deployments"]
        for name in (
            "num_replicas", "autoscaling_config", "max_replicas_per_node", "ray_actor_options", "user_config"
        ):  # fmt: skip
            deployment.pop(name, None)
    assert found == local


def test_each_recipe_takes_the_cameras_that_name_it_and_the_check(plant: Render) -> None:
    (deployment,) = serve_config(plant)["applications"][0]["deployments"]
    recipes = {name: Recipe.model_validate(one) for name, one in deployment["user_config"]["recipes"].items()}
    assert recipes["cast-part"].cameras == ("andon-check", "press-1-side", "press-1-top")
    assert recipes["label"].cameras == ("labels-2-back", "labels-2-front")


def test_a_pod_holds_as_many_replicas_as_its_memory_is_for(factory: Render) -> None:
    """Not as many as its cores would take: Ray counts no memory, and fills a pod before it asks for another."""
    values = yaml.safe_load(factory.mode.values_file.read_text())
    (deployment,) = serve_config(factory)["applications"][0]["deployments"]
    assert deployment["max_replicas_per_node"] == values.get("inference", {}).get("worker", {}).get("replicas", 1)


def test_replicas_fit_into_their_pods_and_never_outnumber_partitions(factory: Render) -> None:
    (deployment,) = serve_config(factory)["applications"][0]["deployments"]
    worker = cluster_of(factory)["workerGroupSpecs"][0]
    container = worker["template"]["spec"]["containers"][0]
    environment = {e["name"]: e.get("value") for e in container["env"]}
    most = deployment.get("autoscaling_config", {}).get("max_replicas") or deployment["num_replicas"]
    assert most <= int(environment["ANDON_FRAME_PARTITIONS"])
    limits, asked = container["resources"]["limits"], deployment["ray_actor_options"]
    each = -(-most // worker["maxReplicas"])
    assert each * asked["num_cpus"] <= float(limits["cpu"])
    assert each * asked["num_gpus"] <= limits.get("nvidia.com/gpu", 0)


def test_commands_and_their_options_exist(factory: Render) -> None:
    """What a container's arguments say, the command line knows."""
    import typer

    from workers.cli import app

    for where, pod in factory.pods().items():
        for container in containers(pod):
            words = [*container.get("command", []), *container.get("args", [])]
            if not container["image"].startswith(("andon/", "registry.example/andon/")) or container["name"] in (
                "ray-head",
                "ray-worker",
                "autoscaler",
            ):
                continue
            words = words[1:] if words[0] == "andon" else words
            command: Any = typer.main.get_command(app)
            while words and words[0] in getattr(command, "commands", {}):
                command = command.commands[words.pop(0)]
            assert not getattr(command, "commands", {}) or command.invoke_without_command, where
            known = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= known, where


def test_a_volume_of_ones_own_is_as_large_as_it_is() -> None:
    """It was refused for the size of a volume that is then not made."""
    own = ["--set", "console.data.existingClaim=judged", "--set", "console.data.feedbackMib=20480"]
    found = rendered(Mode("factory", "plant"), *own)
    assert not [
        claim for claim in found.of_kind("PersistentVolumeClaim") if claim["metadata"]["name"].endswith("-console")
    ]


def test_whoever_sends_a_password_in_clear_is_told() -> None:
    """Not refused: without TLS a password is still better than none."""
    clear, mode = "its password travels in clear", Mode("factory", "minimal")
    assert clear in notes(mode, "--set", "redis.existingSecret=andon-redis")
    assert clear not in notes(mode, "--set", "redis.existingSecret=andon-redis", "--set", "redis.url=rediss://r/0")
    assert clear not in notes(mode)
    heads = ["--set", "inference.faultTolerance.caSecret=,inference.faultTolerance.redisAddress=ray-redis:6379"]
    assert clear in notes(Mode("factory", "plant"), *heads)
    assert clear not in notes(Mode("factory", "plant"))


def test_the_state_of_rays_head_travels_by_tls_where_its_redis_has_it(plant: Render) -> None:
    """Ray takes the authority from this variable; the chart took no address with TLS."""
    cluster = plant.one("RayService")["spec"]["rayClusterConfig"]
    assert cluster["gcsFaultToleranceOptions"]["redisAddress"] == "rediss://ray-redis.data.svc:6380"
    head = cluster["headGroupSpec"]["template"]["spec"]
    (container,) = head["containers"]
    authority = next(each["value"] for each in container["env"] if each["name"] == "RAY_REDIS_CA_CERT")
    places = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    (volume,) = (each for each in head["volumes"] if each.get("secret", {}).get("secretName") == "redis-ca")
    assert authority == f"{places[volume['name']]}/{volume['secret']['items'][0]['path']}"
    (egress,) = (
        rule
        for rule in plant.one("NetworkPolicy", "inference-head")["spec"]["egress"]
        if {"port": 6380, "protocol": "TCP"} in rule.get("ports", [])
    )
    assert egress


def notes(mode: Mode, *more: str) -> str:
    install = ("install", "factory", mode.chart_folder, "--values", mode.values_file, "--dry-run=client")
    told = helm(*install, *more).stdout
    return told[told.index("NOTES:") :]


def test_who_logs_in_elsewhere_is_not_told_to_come_by_a_port_forward() -> None:
    """An issuer sends people back to addresses that it knows, and 127.0.0.1 is none of them."""
    told = notes(Mode("factory", "passwords"))
    assert "port-forward svc/" not in told
    assert "/oauth2/callback" in told
    assert "port-forward svc/factory-console 8484:443" in notes(Mode("factory", "open-platform"))


def test_a_camera_may_want_its_password_in_the_query(tmp_path: Path) -> None:
    """Where it stands in a Secret, and its port is let through."""
    url = "http://10.20.0.11:8080/mjpeg?user={username}&password={password}"
    more = tmp_path / "more.yaml"
    source = {"type": "video", "url": url}
    more.write_text(yaml.safe_dump({"lines": {"press-1": {"cameras": {"press-1-top": {"source": source}}}}}))
    found = rendered(Mode("factory", "plant"), "--values", more)
    (config,) = (
        yaml.safe_load(each["data"]["cameras.yaml"])
        for each in found.of_kind("ConfigMap")
        if each["metadata"]["name"].endswith("-camera-press-1-top")
    )
    (camera,) = config["cameras"]
    assert (camera["source"]["url"], camera["source"]["login"]) == (url, "/run/secrets/cameras/press-1-top")


def test_a_line_may_leave_its_cameras_empty(tmp_path: Path) -> None:
    """As one does whose cameras are all sent by boxes."""
    more = tmp_path / "more.yaml"
    more.write_text("lines:\n  weld:\n    stop: {action: ALARM_ONLY}\n    cameras:\n")
    found = rendered(Mode("factory", "plant"), "--values", more)
    policies = yaml.safe_load(found.one("ConfigMap", "-alerting")["data"]["policies.yaml"])
    assert policies["lines"]["weld"] == {"action": "ALARM_ONLY"}


@pytest.mark.parametrize("mode", [Mode("factory", name) for name in ("plant", "trial", "passwords")], ids=str)
def test_every_pod_can_be_told_who_it_is_and_what_a_mesh_does_with_it(mode: Mode, renders: dict[Mode, Render]) -> None:
    """An SCC or an identity could be given to the whole namespace alone, and a mesh took the way to PLCs."""
    left_alone = {"traffic.sidecar.istio.io/excludeOutboundPorts": "502,9093"}
    found = rendered(
        mode, "--set", "serviceAccountName=andon", "--set-json", f"podAnnotations={json.dumps(left_alone)}"
    )
    pods = found.pods()
    assert pods.keys() == renders[mode].pods().keys()
    for where, pod in pods.items():
        assert pod["spec"]["serviceAccountName"] == "andon", where
        assert left_alone.items() <= pod["metadata"]["annotations"].items(), where
    assert "serviceAccountName" not in repr(renders[mode].objects)


def test_names_can_be_asked_of_the_cache_on_the_node(plant: Render) -> None:
    """Where a cluster has NodeLocal DNSCache, pods ask nobody else; no namespace stands behind it."""
    asked = [
        rule["to"]
        for policy in plant.of_kind("NetworkPolicy")
        for rule in policy["spec"].get("egress", [])
        if {port["port"] for port in rule.get("ports", [])} == {53, 5353}
    ]
    assert asked
    assert all({"ipBlock": {"cidr": "169.254.20.10/32"}} in peers for peers in asked)
