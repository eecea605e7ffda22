"""Values that can't work are refused when they are rendered, with a sentence that says what to write instead."""

from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import pytest
import yaml
from pydantic import ValidationError
from support.charts import Mode, helm, rendered

from workers.alerting.policy import LinePolicy

pytestmark = pytest.mark.unit

NOTHING = {"cpu": "", "memory": ""}
CAMERA = "lines.press-1.cameras.press-1-top"


def refusal(chart: str, values: str, changes: dict[str, Any], tmp_path: Path, release: str = "factory") -> str:
    mode = Mode(chart, values)
    more = tmp_path / "more.yaml"
    more.write_text(yaml.safe_dump(nested(changes)))
    done = helm("template", release, mode.chart_folder, "--values", mode.values_file, "--values", more)
    assert done.returncode != 0, "it was rendered"
    return done.stderr


def nested(changes: dict[str, Any]) -> dict[str, Any]:
    """{"a.b": 1} → {"a": {"b": 1}}"""
    found: dict[str, Any] = {}
    for path, value in changes.items():
        *parents, last = path.split(".")
        at = found
        for name in parents:
            at = at.setdefault(name, {})
        at[last] = value
    return found


@pytest.mark.parametrize(
    ("values", "changes", "says"),
    [
        # Misspelt, at the root and below: the keys that there are are listed.
        ("minimal", {"camras": {}}, ["'camras'", "'cameras'"]),
        ("minimal", {"inference.replica.gpu": 1}, ["'gpu'", "'gpus'"]),
        ("minimal", {"lines.press-1.stop.max_age": 10}, ["'max_age'", "'max_age_s'"]),
        ("minimal", {f"{CAMERA}.source.frames": 5}, ["'frames'"]),
        ("minimal", {"inference.replicas": "two"}, ["/inference/replicas", "want integer"]),
        ("minimal", {"lines.press-1.stop.action": "STOPP"}, ["'HOLD'"]),
        ("minimal", {"lines.press-1.stop": None}, ["stop"]),
        # Left empty in the file, which is null for YAML, and no section at all for Helm.
        ("minimal", {"monitoring": None}, ["missing property 'monitoring'"]),
        ("minimal", {"kafka.tls": None}, ["at '/kafka': missing property 'tls'"]),
        ("minimal", {"kafka.bootstrap": None}, ["kafka.bootstrap is empty: set it to host:port"]),
        ("minimal", {"redis.url": None}, ["no Redis: set redis.url to yours"]),
        ("plant", {"redis.url": None}, ["redis.caSecret is set, but redis.url does not use TLS"]),
        ("plant", {"recipes": None}, ["recipes is empty: name at least one"]),
        ("minimal", {"recipes": None, "lines": None}, ["recipes is empty: name at least one"]),
        ("passwords", {"bundles.fetch.url": None}, ["set bundles.fetch.url"]),
        ("plant", {"inference.faultTolerance.redisAddress": None}, ["redisAddress must be host:port"]),
        ("plant", {"kafka.auth.certKey": None}, ["at '/kafka/auth': missing property 'certKey'"]),
        ("plant", {"inference.terminationGracePeriodS": None}, ["missing property 'terminationGracePeriodS'"]),
        ("plant", {"console.proxy.enabled": None}, ["at '/console/proxy': missing property 'enabled'"]),
        ("plant", {"networkPolicy.apiServer.ports": None}, ["missing property 'ports'"]),
        ("minimal", {"alerting.resources.limits": None}, ["at '/alerting/resources': missing property 'limits'"]),
        # Less often than the panels look back, which then stay empty.
        (
            "plant",
            {"monitoring.podMonitors.interval": "1m", "monitoring.rules.enabled": False},
            ["monitoring.podMonitors.interval is 1m, and dashboards look at one minute: set at most 30s"],
        ),
        # Names. Of a name's pattern alone Helm tells at some other value's place, another one each time.
        (
            "minimal",
            {
                "lines.press-1.cameras": {
                    "cam/1": {"station_id": "s", "recipe": "solar-cell", "source": {"type": "video"}}
                }
            },
            ["at '/lines/press-1/cameras': additional properties 'cam/1' not allowed", "does not match pattern"],
        ),
        ("minimal", {"recipes": {"a b": {"bundle": "x"}}}, ["at '/recipes': additional properties 'a b' not allowed"]),
        (
            "minimal",
            {"lines.press-1.stop.candidates": {"a%": {"threshold": 1}}},
            ["at '/lines/press-1/stop/candidates'"],
        ),
        ("minimal", {"fullnameOverride": "a-name-of-thirty-eight-characters-long"}, ["maxLength", "37"]),
        # From a million on Helm writes 1e+06, which is no duration and no whole number to Kubernetes.
        ("plant", {"monitoring.rules.cameraSilentS": 1_000_000}, ["cameraSilentS", "maximum"]),
        ("plant", {"cameras.terminationGracePeriodS": 1_000_000}, ["terminationGracePeriodS", "maximum"]),
        # No more than `andon check` takes.
        ("plant", {"tests.timeoutS": 7200}, ["timeoutS", "maximum"]),
        ("minimal", {"images.registry": "registry.example"}, ["registry.exampleandon/worker:", "end it with a slash"]),
        ("minimal", {"images.registry": "https://registry.example/"}, ['write it without "https://"']),
        ("minimal", {"recipes.solar-cell.bundle": ""}, ["at '/recipes/solar-cell/bundle'", "minLength"]),
        # What would become other YAML than was meant, or what no API server takes.
        ("minimal", {"images.registry": "a: b/"}, ["'/images/registry'"]),
        ("minimal", {"images.worker.tag": "a: b #c"}, ["'/images/worker/tag'"]),
        ("minimal", {"images.pullSecrets": ["{{ .Values }}"]}, ["'/images/pullSecrets/0'"]),
        ("minimal", {"cameras.nodeSelector": {"example.com/edge": "hall 2"}}, ["edge'", "'hall 2'"]),
        ("trial", {"images.valkey.registry": "mirror"}, ["images.valkey.registry is", "mirrorvalkey/valkey:", "slash"]),
        ("plant", {"console.timeZone": "Mars/Base"}, ["console.timeZone: there is no time zone Mars/Base"]),
        ("plant", {"redis.url": "rediss://r/0?ssl_cert_reqs=none"}, ["no certificate is checked"]),
        ("plant", {"redis.url": "rediss://r:6380/plant2"}, ["/redis/url"]),
        ("plant", {"redis.url": "rediss://r/0?ssl_check_hostname=False"}, ["no certificate is checked"]),
        (
            "plant",
            {f"{CAMERA}.source.url": "http://10.20.0.9/m?user=x&pwd=y"},
            ["a password in its query", "{password}"],
        ),
        ("plant", {f"{CAMERA}.source.url": "http://10.20.0.9/m?loginpas=y"}, ["a password in its query"]),
        (
            "minimal",
            {f"{CAMERA}.source.url": "http://10.20.0.9/m?usr={username}&pwd={password}"},
            ["has {password}, and nothing to put there"],
        ),
        # Rules that would never tell.
        # Each rule would find nothing: some fire for ever then, and the others never.
        ("plant", {"monitoring.podMonitors.enabled": False}, ["set monitoring.podMonitors.enabled to true"]),
        ("plant", {"monitoring.podMonitors.interval": "1m"}, ["interval is 1m", "set at most 30s"]),
        ("plant", {"monitoring.podMonitors.interval": "20s"}, ["cameraSilentS is 60", "set at least 80"]),
        ("plant", {"monitoring.rules.cameraSilentS": 30}, ["cameraSilentS is 30", "set at least 60"]),
        ("plant", {"redis.url": "rediss://redis.example/0?db=1"}, ["redis.url has a '?'"]),
        # What no API server looks at in a RayService, and KubeRay then makes no pod of.
        (
            "plant",
            {"inference.worker.tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "value": "present"}]},
            ["inference.worker.tolerations[0] has a value, and operator Exists", "leave out the value, or write Equal"],
        ),
        ("minimal", {"tolerations": [{"effect": "NoSchedule"}]}, ["tolerations[0] has no key", "operator: Exists"]),
        (
            "minimal",
            {"inference.head.tolerations": [{"key": "k", "operator": "Exists", "tolerationSeconds": 60}]},
            ["inference.head.tolerations[0]", "tolerationSeconds", "effect: NoExecute"],
        ),
        # Kafka.
        ("minimal", {"kafka.bootstrap": ""}, ["kafka.bootstrap is empty: set it to host:port"]),
        ("minimal", {"kafka.bootstrap": "kafka"}, ["write host:port of each broker"]),
        ("minimal", {"kafka.bootstrap": "fd00::1:9092"}, ["write host:port of each broker", "or [fd00::1]:9093"]),
        ("minimal", {"kafka.bootstrap": "a:9092, b:9092"}, ["separated by commas alone"]),
        ("minimal", {"kafka.auth.type": "mtls"}, ["needs TLS: set kafka.tls.enabled to true"]),
        ("minimal", {"kafka.auth.type": "plain"}, ["passwords in clear", "use scram-sha-512"]),
        (
            "plant",
            {"kafka.users.alerting.existingSecret": ""},
            [
                "kafka.users.alerting.existingSecret is empty",
                "name the Secret that holds this user's certificate and key",
            ],
        ),
        (
            "passwords",
            {"kafka.users.camera.existingSecret": ""},
            ["kafka.users.camera.existingSecret is empty", "this user's password"],
        ),
        # Redis.
        ("minimal", {"redis.url": ""}, ["no Redis: set redis.url to yours"]),
        ("minimal", {"redis.url": "redis://u:secret@redis:6379/0"}, ["/redis/url"]),
        ("trial", {"redis.existingSecret": ""}, ["needs a password: create a Secret"]),
        ("trial", {"redis.url": "redis://redis:6379"}, ["are both set: clear redis.url"]),
        ("minimal", {"redis.caSecret": "ca"}, ["begin it with rediss://"]),
        # Lines and recipes.
        ("minimal", {f"{CAMERA}.recipe": "solar-cel"}, ["which is not in recipes: use one of solar-cell"]),
        ("minimal", {"recipes.other": {"bundle": "x"}}, ["recipes.other is named by no camera: remove it"]),
        ("minimal", {"tests.recipe": "none"}, ["tests.recipe is", "use one of solar-cell"]),
        (
            "minimal",
            {f"{CAMERA}.source.url": "rtsp://me:secret@10.0.0.1/s"},
            ["holds a password: write it without, and name a Secret"],
        ),
        ("trial", {"lines.line-1.cameras.mono-1.imagesClaim": ""}, ["set imagesClaim to a PersistentVolumeClaim"]),
        (
            "minimal",
            {
                "lines.press-2.stop": {"action": "HOLD"},
                "lines.press-2.cameras": {
                    "press-1-top": {
                        "station_id": "s",
                        "recipe": "solar-cell",
                        "source": {"type": "video", "url": "rtsp://10.0.0.2/s"},
                    }
                },
            },
            ['camera "press-1-top" is in line "press-1" and in line "press-2"'],
        ),
        (
            "minimal",
            {
                "lines.press-1.cameras.Press_1_top": {
                    "station_id": "s",
                    "recipe": "solar-cell",
                    "source": {"type": "video", "url": "rtsp://10.0.0.2/s"},
                }
            },
            ["would both be called", "give them different `worker` names"],
        ),
        (
            "minimal",
            {
                f"lines.press-1.cameras.{'c' * 60}": {
                    "station_id": "s",
                    "recipe": "solar-cell",
                    "source": {"type": "video", "url": "rtsp://10.0.0.2/s"},
                }
            },
            ["Kubernetes takes at most 63: give its camera a short `worker`"],
        ),
        # Two cameras must say that they share a worker: one that is only called like it does not.
        (
            "minimal",
            {
                "lines.press-1.cameras.other": {
                    "station_id": "s",
                    "recipe": "solar-cell",
                    "worker": "press-1-top",
                    "source": {"type": "video", "url": "rtsp://10.0.0.2/s"},
                }
            },
            ["would both be called", "or one on purpose"],
        ),
        (
            "minimal",
            {
                "lines.press-1.cameras": {
                    True: {
                        "station_id": "s",
                        "recipe": "solar-cell",
                        "source": {"type": "video", "url": "rtsp://10.0.0.2/s"},
                    }
                }
            },
            ['a camera of line "press-1" is called true: put names that YAML takes', "in quotes"],
        ),
        ("minimal", {f"{CAMERA}.source.url": "/images/part.mp4"}, ["a file, but nothing is mounted"]),
        ("minimal", {f"{CAMERA}.part_id": "file"}, ["a video has no file names: write frame"]),
        # What a network policy would cut off in silence.
        (
            "plant",
            {"lines.press-1.cameras.press-1-top.source.url": "rtsp://10.30.0.11/s"},
            ["camera press-1-top is at 10.30.0.11", "add 10.30.0.11/32 or its network"],
        ),
        ("plant", {"lines.press-1.stop.actuator.host": "10.20.2.11"}, ["the PLC of line press-1 is at 10.20.2.11"]),
        (
            "plant",
            {"lines.press-1.cameras.press-1-top.source.url": "rtsp://[fd00::12]/s"},
            ["camera press-1-top is at fd00::12", "add fd00::12/128 or its network"],
        ),
        ("plant", {"lines.press-1.stop.actuator.host": "fd00::5"}, ["add fd00::5/128 or its network"]),
        ("plant", {"lines.press-1.stop.actuator.host": "10.20.1.11:502"}, ["its port in actuator.port"]),
        ("plant", {"lines.press-1.stop.actuator.host": "tcp://plc"}, ["is tcp://plc, and alerting would not start"]),
        ("plant", {"networkPolicy.camera.cidrs": []}, ["networkPolicy.camera.cidrs is empty", "name its network"]),
        ("plant", {"networkPolicy.plc.cidrs": []}, ["nobody reaches the PLC of line press-1: name its network"]),
        ("minimal", {f"{CAMERA}.source.url": "srt://10.0.0.2/s"}, ["names no port", "write it, as in rtsp://"]),
        (
            "plant",
            {"networkPolicy.redis.to": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]},
            ["networkPolicy.redis.to has a peer with an ipBlock and a selector", "write two peers"],
        ),
        ("plant", {"networkPolicy.redis.to": [{}]}, ["/networkPolicy/redis/to/0"]),
        # Stops and PLCs.
        ("minimal", {"lines.press-1.stop.k": 6}, ["k is 6 of 5 parts, which is never reached: set k to at most 5"]),
        ("minimal", {"alerting.otherLines.of": 2}, ["alerting.otherLines: k is 3 of 2 parts"]),
        ("minimal", {"lines.press-1.stop.not_decidable": {"limit": 30}}, ["set limit to at most of_last"]),
        ("minimal", {"lines.press-1.stop.stop_budget": {"stops": 3, "shifts": ["6:00"]}}, ["/shifts/0", "'6:00'"]),
        ("minimal", {"lines.press-1.stop.stop_budget": {"stops": 3, "shifts": ["24:00"]}}, ["/shifts/0", "'24:00'"]),
        (
            "minimal",
            {"lines.press-1.stop.stop_budget": {"stops": 3, "timezone": "Europe/Berlinn"}},
            ["there is no time zone Europe/Berlinn, and alerting would not start"],
        ),
        (
            "minimal",
            {"lines.press-1.stop.candidates": {"laxer": {"threshold": 0.5, "k": 9}}},
            ["candidates.laxer: k is above `of`", "set k to at most 5"],
        ),
        (
            "minimal",
            {"lines.press-1.stop.actuator": {"type": "modbus", "host": "10.0.0.9", "coils": {"stop": 0}}},
            ["has an actuator and no on_loss: write hold-on-loss", "or run-with-alarm"],
        ),
        (
            "minimal",
            {
                "lines.press-1.stop.on_loss": "hold-on-loss",
                "lines.press-1.stop.actuator": {"type": "modbus", "host": "10.0.0.9", "coils": {"held": 0}},
            },
            ["name at least one of stop and run_permit, or nothing could be read back"],
        ),
        (
            "minimal",
            {
                "lines.press-1.stop.action": "REJECT",
                "lines.press-1.stop.on_loss": "hold-on-loss",
                "lines.press-1.stop.actuator": {"type": "modbus", "host": "10.0.0.9", "coils": {"stop": 0}},
            },
            ["REJECT needs a signal for it: actuator.coils.reject"],
        ),
        (
            "plant",
            {
                "lines.press-2.stop": {
                    "action": "HOLD",
                    "on_loss": "run-with-alarm",
                    "actuator": {
                        "type": "modbus",
                        "host": "10.20.1.11",
                        "block": 103,
                        "coils": {"stop": 1, "run_permit": 2, "held": 9},
                    },
                }
            },
            [
                "lines.press-2.stop.actuator.block is lines.press-1.stop.actuator's, too",
                "lines.press-2.stop.actuator.coils.stop is lines.press-1.stop.actuator's, too",
                "the two would fight for it: give each line its own signals",
            ],
        ),
        (
            "plant",
            {"lines.labels-2.existingSecret": ""},
            ["name the Secret that holds it in lines.labels-2.existingSecret"],
        ),
        (
            "plant",
            {"lines.labels-2.stop.actuator.password_file": "/etc/password"},
            ["nothing is mounted there", "write /run/secrets/lines/labels-2/"],
        ),
        (
            "minimal",
            {
                "lines.press-1.stop.on_loss": "run-with-alarm",
                "lines.press-1.stop.actuator": {
                    "type": "opcua",
                    "url": "opc.tcp://10.0.0.9:4840",
                    "nodes": {"command": "ns=2;s=c", "stop": "ns=2;s=s"},
                    "security": "Basic256Sha256,Sign,own.pem,/run/secrets/lines/press-1/own-key.pem",
                },
            },
            [
                "names the file own.pem, and nothing is mounted there",
                "names the file /run/secrets/lines/press-1/own-key.pem: name the Secret that holds it",
            ],
        ),
        (
            "minimal",
            {
                f"lines.press-1.cameras.more-{n}": {
                    "station_id": "s",
                    "recipe": "cast-part",
                    "source": {"type": "folder", "path": "/images", "fps": 1},
                }
                for n in range(64)
            },
            ["lines.press-1.cameras: 65 of them, and alerting watches 64 of a line: make two lines of it"],
        ),
        ("minimal", {"alerting.otherLines.on_loss": "hold-on-loss"}, ["'on_loss'"]),
        # How many.
        ("minimal", {"inference.replicas": 9}, ["`frames` has 8 partitions", "set at most 8"]),
        ("plant", {"inference.autoscaling.maxReplicas": 49}, ["`frames` has 48 partitions", "set at most 48"]),
        ("plant", {"inference.autoscaling.minReplicas": 33}, ["minReplicas (33) is above maxReplicas (32): swap them"]),
        ("minimal", {"alerting.replicas": 5}, ["`scores` has 4 partitions", "set at most 4"]),
        ("passwords", {"alerting.autoscaling.maxReplicas": 5}, ["`scores` has 4 partitions", "set at most 4"]),
        ("passwords", {"alerting.autoscaling.minReplicas": 5}, ["minReplicas (5) is above maxReplicas (4)"]),
        ("plant", {"alerting.pdb.maxUnavailable": 1}, ["both set, and Kubernetes takes one: set the other to null"]),
        ("plant", {"alerting.pdb.minAvailable": 3}, ["would block every drain: set at most 2"]),
        # Ray.
        ("minimal", {"inference.replica.gpus": 1}, ["a worker pod has 0 GPUs: raise inference.worker.gpus"]),
        ("minimal", {"inference.device": "cuda"}, ["inference.replica.gpus is 0: set it to 1"]),
        ("plant", {"inference.device": "cpu"}, ["set device to auto or cuda"]),
        # Of a GPU's share, which no API server looks at in a RayService: KubeRay then makes no pod.
        ("plant", {"inference.worker.gpuResource": "mig-1g.10gb"}, ["'/inference/worker/gpuResource'"]),
        ("plant", {"inference.worker.gpuResource": ""}, ["'/inference/worker/gpuResource'"]),
        ("plant", {"inference.faultTolerance.redisAddress": "redis://x"}, ["must be host:port"]),
        ("plant", {"inference.faultTolerance.redisAddress": "rediss://a:b@ray-redis:6380"}, ["must be host:port"]),
        ("plant", {"inference.faultTolerance.redisAddress": "ray-redis:6379"}, ["but redisAddress does not use TLS"]),
        ("passwords", {"inference.http.existingSecret": ""}, ["opens /score", "name a Secret with a bearer token"]),
        (
            "minimal",
            {"inference.replica.cpus": 4},
            ["is 4, but a worker pod has 2 cores", "set inference.worker.resources.limits.cpu to at least 4"],
        ),
        (
            "minimal",
            {"inference.worker.resources": {"limits": {"cpu": "", "memory": "4Gi"}, "requests": {"cpu": ""}}},
            ["Ray counts a pod's cores by it: set limits.cpu to at least 1"],
        ),
        ("minimal", {"inference.worker.resources.requests.memory": "5Gi"}, ["(5Gi) is above limits.memory (4Gi)"]),
        ("minimal", {"alerting.resources.limits.memory": ""}, ["could take a whole node: set it"]),
        (
            "minimal",
            {"cameras.bufferMib": 512},
            ["would be killed at its memory of 512Mi", "cameras.resources.limits.memory to at least 608Mi"],
        ),
        ("minimal", {"inference.worker.sharedMemoryMib": 4096}, ["counts to the pod's memory of 4Gi: set less"]),
        ("plant", {"inference.replica.gpus": 1.5}, ["shares of one GPU or whole ones: set 1"]),
        ("minimal", {"inference.worker.gpus": 1}, ["no replica would see one: set inference.replica.gpus to 1"]),
        # Environment.
        ("minimal", {"extraEnv": [{"name": "KAFKA_BOOTSTRAP", "value": "x"}]}, ["extraEnv sets KAFKA_BOOTSTRAP"]),
        (
            "plant",
            {"alerting.extraEnv": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "x"}]},
            ["both set OTEL_EXPORTER_OTLP_ENDPOINT: remove it from one"],
        ),
        ("minimal", {"extraEnv": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}, ["sets A twice"]),
        ("minimal", {"extraEnv": [{"name": "A"}]}, ["/extraEnv/0"]),
        # The page.
        ("plant", {"console.replicas": 2}, ["console.replicas is 2", "set 1 (one page serves a hundred browsers)"]),
        (
            "plant",
            {"kafka.users.operator.existingSecret": ""},
            ["kafka.users.operator.existingSecret is empty", "certificate and key"],
        ),
        ("passwords", {"console.proxy.existingSecret": ""}, ["name it in console.proxy.existingSecret"]),
        ("passwords", {"console.proxy.clientId": ""}, ["write the client id that your issuer gave you"]),
        ("passwords", {"console.proxy.args": []}, ["it knows no issuer: write --provider="]),
        (
            "passwords",
            {"console.proxy.args": ["--cookie-secret=abc"]},
            ["--cookie-secret, which the chart or the Secret sets: remove it"],
        ),
        ("passwords", {"console.tls.existingSecret": "tls"}, ["clear console.tls.existingSecret"]),
        ("plant", {"console.data.storage": "4Gi"}, ["less than judged images may take", "raise it"]),
        ("trial", {"console.mountBundles": True}, ["set console.mountBundles to false"]),
        # Names of objects.
        ("trial", {"redis.existingSecret": "My Secret"}, ["/redis/existingSecret", "does not match"]),
        # Bundles.
        ("plant", {"bundles.claim.existingClaim": ""}, ["name the PersistentVolumeClaim"]),
        ("open-platform", {"bundles.volume.reference": ""}, ["name the OCI image"]),
        ("passwords", {"bundles.fetch.sha256": ""}, ["set bundles.fetch.url, and bundles.fetch.sha256"]),
        ("passwords", {"bundles.fetch.sha256": "abc"}, ["/bundles/fetch/sha256"]),
    ],
    ids=lambda value: ",".join(value)[:60] if isinstance(value, dict) else None,
)
def test_the_factory_refuses(values: str, changes: dict[str, Any], says: list[str], tmp_path: Path) -> None:
    told = refusal("factory", values, changes, tmp_path)
    assert all(part in told for part in says), told


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({f"{CAMERA}.source.type": "vidio"}, ["/source/type': value must be one of 'video', 'folder'"]),
        ({f"{CAMERA}.source.encode": "gif"}, ["/source/encode': value must be one of 'jpeg', 'png'"]),
        ({f"{CAMERA}.source.type": "folder"}, ["missing property 'path'", "'url' not allowed"]),
        ({"lines.press-1.stop.actuator.type": "modbas"}, ["/actuator/type': value must be one of 'modbus', 'opcua'"]),
        ({"lines.press-1.stop.actuator.codes.HOLD": "one"}, ["/codes/HOLD': got string, want integer"]),
    ],
)
def test_a_form_is_refused_for_its_own_faults_alone(changes: dict[str, Any], says: list[str], tmp_path: Path) -> None:
    """And not for being none of the others, too."""
    said = refusal("factory", "plant", changes, tmp_path)
    assert all(part in said for part in says), said
    assert "oneOf" not in said
    assert len([line for line in said.splitlines() if line.lstrip().startswith("- at '/")]) <= 3, said


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"codes.HOLD": 2}, "actuator.codes are HOLD 2, REJECT 3, RUN 0, STOP 2"),
        ({"codes.HOLD": 0}, "give each its own"),
        ({"inverted": ["reject"]}, "actuator.inverted has reject, which is not named under actuator.coils"),
        ({"coils.stop": None, "coils.run_permit": None}, "name at least one of stop and run_permit"),
        ({"block": None, "coils.run_permit": None}, "hold-on-loss can't be kept by coils that all fall to 0"),
        ({"block": None, "inverted": ["run_permit"]}, "hold-on-loss can't be kept by coils"),
        ({"type": "opcua", "nodes": {"command": "ns=2;s=c", "stop": "ns=2;s=s"}}, "without actuator.nodes.heartbeat"),
    ],
)
def test_an_actuator_that_alerting_refuses_is_not_rendered(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    """It was, and the new alerting worker never came up."""
    whole: dict[str, Any] = (
        {"url": "opc.tcp://10.20.1.11:4840"}
        if changes.get("type") == "opcua"
        else {"type": "modbus", "host": "10.20.1.11", "block": 100, "coils": {"stop": 0, "run_permit": 1}}
    )
    for name, value in nested(changes).items():
        whole[name] = whole[name] | value if name == "coils" else value
    stop = {"k": 3, "action": "HOLD", "on_loss": "hold-on-loss", "actuator": whole}
    with pytest.raises(ValidationError):
        LinePolicy.model_validate(stop | {"n": 5})
    assert says in refusal("factory", "minimal", {"lines.press-1.stop": stop | {"of": 5}}, tmp_path)


def test_a_signal_that_is_null_is_no_signal(tmp_path: Path) -> None:
    """And not coil 0 or block 0, which is another line's here."""
    host = {"type": "modbus", "host": "10.0.0.9"}
    lines = {
        line: {
            "stop": {"action": "HOLD", "on_loss": "hold-on-loss", "actuator": host | actuator},
            "cameras": {},
        }
        for line, actuator in {
            "press-1": {"coils": {"stop": 0, "run_permit": 1}},
            "press-2": {"block": None, "coils": {"stop": None, "run_permit": 5}},
        }.items()
    }
    more = tmp_path / "more.yaml"
    more.write_text(yaml.safe_dump({"lines": lines, "networkPolicy": {"plc": {"cidrs": ["10.0.0.0/24"]}}}))
    rendered(Mode("factory", "minimal"), "--values", more)


def test_brokers_may_have_ipv6_addresses() -> None:
    brokers = "kafka:9094,[fd00::1]:9092"
    found = rendered(Mode("factory", "minimal"), "--set-json", f'kafka.bootstrap="{brokers}"')
    (alerting,) = found.one("Deployment", "-alerting")["spec"]["template"]["spec"]["containers"]
    assert {"name": "KAFKA_BOOTSTRAP", "value": brokers} in alerting["env"]
    rules = found.one("NetworkPolicy", "-alerting")["spec"]["egress"]
    assert {9092, 9094} <= {port["port"] for rule in rules for port in rule["ports"]}


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    told = refusal("factory", "minimal", {"kafka.bootstrap": "", "redis.url": "", "alerting.replicas": 9}, tmp_path)
    assert told.count("\n  - ") == 3


@pytest.mark.parametrize(
    ("release", "says"),
    [
        ("a-release-name-that-is-longer-than-kuberay", "KubeRay takes at most 47: choose a release name of at most 37"),
        ("1st-plant", "must begin with a letter"),
    ],
)
def test_release_names_that_ray_could_not_carry_are_refused(release: str, says: str, tmp_path: Path) -> None:
    assert says in refusal("factory", "minimal", {}, tmp_path, release)


@pytest.mark.parametrize(
    ("values", "changes", "says"),
    [
        ("plant", {"version": "*latest"}, ["'/version'"]),
        ("plant", {"brokers.storage": ""}, ["'/brokers/storage'", "minLength"]),
        ("plant", {"brokrs": {}}, ["'brokrs'", "'brokers'"]),
        ("plant", {"replication": None}, ["missing property 'replication'"]),
        ("plant", {"replication.factor": 4}, ["there are 3 brokers: set at most 3"]),
        ("plant", {"replication.minInSync": 3}, ["one broker away would stop all writing: set 2"]),
        ("plant", {"monitoring.podMonitors.enabled": False}, ["rules ask for what the exporter tells"]),
        ("plant", {"replication.minInSync": 1}, ["is lost with its disk", "set 2"]),
        ("trial", {"replication.minInSync": 2}, ["nothing could ever be written: set 1"]),
        ("plant", {"replication.factor": 2, "replication.minInSync": 2}, ["set 2, with a replication.factor of 3"]),
        ("plant", {"controllers.replicas": 2}, ["set 1"]),
        # What no API server looks at in a KafkaNodePool, and Strimzi then makes no pod of.
        (
            "plant",
            {"brokers.resources.requests.memory": "8Gi"},
            ["brokers.resources.requests.memory (8Gi) is above limits.memory (6Gi): raise the limit, or ask for less"],
        ),
        (
            "plant",
            {"controllers.resources.limits.cpu": "100m"},
            ["controllers.resources.requests.cpu (250m) is above limits.cpu (100m)"],
        ),
        (
            "plant",
            {"brokers.resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "2Gi"}}},
            ["brokers.heap is 2g", "would be killed at its memory of 2Gi: set less heap, or"],
        ),
        *(
            (
                "plant",
                {f"{part}.resources": {"requests": NOTHING, "limits": NOTHING}},
                [f"{part}.resources.limits.memory is empty, so one process could take a whole node: set it"],
            )
            for part in ("brokers", "controllers", "operators", "monitoring.exporter")
        ),
        ("plant", {"topics.retention": {"frame": {"hours": 1}}}, ["topics.retention.frame is no topic", "frames"]),
        ("plant", {"security.readers": ["alerting"]}, ["which is a component's name: choose another"]),
        ("plant", {"security.type": "plain"}, ["'scram-sha-512'"]),
        ("plant", {"clusterName": "x" * 27}, ["maxLength"]),
        ("plant", {"clusterName": "x" * 24, "brokers.replicas": 8}, ["-controllers-10, longer than", "of at most 23"]),
        ("trial", {"clusterName": "x" * 26, "brokers.replicas": 11}, ["-brokers-10, longer than", "of at most 25"]),
        ("trial", {"outside.type": "loadbalancer"}, ["whoever reaches it could stop your lines: set security.type"]),
        ("trial", {"outside.host": "kafka.example"}, ["outside.host is set, and outside.type is none"]),
        ("trial", {"outside.gateway.name": "lines"}, ["outside.gateway.name is set, and outside.type is none"]),
        ("scram", {"outside.host": ""}, ["no client would believe them: name in outside.host"]),
        ("scram", {"outside.type": "ingress"}, ["'tlsroute'"]),
        ("scram", {"outside.type": "route"}, ["outside.nodePort is set, and outside.type is route"]),
        ("scram", {"outside.brokerHost": "kafka-{node}.example"}, ["/outside/brokerHost", "does not match pattern"]),
        (
            "plant",
            {"outside": {"type": "route", "host": "10.20.1.4", "brokerHost": "kafka.example"}},
            ["write a name", "write {nodeId} into it", "sourceRanges is set, and", "annotations are of Services"],
        ),
        (
            "plant",
            {"outside.type": "tlsroute"},
            ["set outside.host, too", "set outside.brokerHost, too", "set outside.gateway.name, too"],
        ),
        (
            "plant",
            {"outside.allowFrom": [{"podSelector": {"matchLabels": {"a": "b"}}, "ipBlock": {"cidr": "10.0.0.0/8"}}]},
            ["outside.allowFrom has a peer with an ipBlock and a selector"],
        ),
        ("second-factory", {"outside.type": "route"}, ["the listeners of kafka are its own: set it where that Kafka"]),
        ("second-factory", {"clusterName": "mine"}, ['no cluster is made beside "kafka": clear clusterName']),
        (
            "plant",
            {"security.readers": ["r" * 60]},
            ["at most 64 characters, and these are 66; choose a shorter one"],
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_the_kafka_chart_refuses(values: str, changes: dict[str, Any], says: list[str], tmp_path: Path) -> None:
    told = refusal("factory-kafka", values, changes, tmp_path, "kafka")
    assert all(part in told for part in says), told


def test_a_kafka_release_whose_pods_would_have_too_long_a_name_is_refused(tmp_path: Path) -> None:
    told = refusal("factory-kafka", "plant", {}, tmp_path, release="kafka-of-the-western-hall")
    assert '"kafka-of-the-western-hall" is 25 characters long' in told
    assert "choose a release name of at most 24, or set clusterName" in told


def test_an_oci_image_of_bundles_needs_a_cluster_that_mounts_them() -> None:
    mode = Mode("factory", "open-platform")
    chart = ("template", "factory", mode.chart_folder, "--values", mode.values_file, "--kube-version")
    assert helm(*chart, "1.33.0").returncode == 0
    done = helm(*chart, "1.32.9")
    assert "needs Kubernetes 1.33, and this is v1.32.9: use claim or fetch" in done.stderr


def test_every_time_zone_is_taken(tmp_path: Path) -> None:
    more = tmp_path / "more.yaml"
    budgets = [{"stops": 1, "timezone": zone} for zone in sorted(available_timezones() - {"localtime"})]
    stops = [{"k": 1, "of": 1, "action": "HOLD", "stop_budget": budget} for budget in budgets]
    more.write_text(yaml.safe_dump({"lines": {f"line-{i}": {"stop": stop} for i, stop in enumerate(stops)}}))
    rendered(Mode("factory", "minimal"), "--values", more)
