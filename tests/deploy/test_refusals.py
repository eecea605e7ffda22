"""Values that can't work are refused when they are rendered, with a sentence that says what to write instead."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.charts import Mode, helm

pytestmark = pytest.mark.unit

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
        # Names.
        ("minimal", {"fullnameOverride": "a-name-of-thirty-eight-characters-long"}, ["maxLength", "37"]),
        # Kafka.
        ("minimal", {"kafka.bootstrap": ""}, ["kafka.bootstrap is empty: set it to host:port"]),
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
        ("plant", {"inference.faultTolerance.redisAddress": "redis://x"}, ["must be host:port"]),
        ("passwords", {"inference.http.existingSecret": ""}, ["opens /score", "name a Secret with a bearer token"]),
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
        ("plant", {"brokrs": {}}, ["'brokrs'", "'brokers'"]),
        ("plant", {"replication.factor": 4}, ["there are 3 brokers: set at most 3"]),
        ("plant", {"replication.minInSync": 3}, ["one broker away would stop all writing: set 2"]),
        ("trial", {"replication.minInSync": 2}, ["nothing could ever be written: set 1"]),
        ("plant", {"controllers.replicas": 2}, ["set 1"]),
        ("plant", {"topics.retention": {"frame": {"hours": 1}}}, ["topics.retention.frame is no topic", "frames"]),
        ("plant", {"security.readers": ["alerting"]}, ["which is a component's name: choose another"]),
        ("plant", {"security.type": "plain"}, ["'scram-sha-512'"]),
        ("plant", {"clusterName": "x" * 41}, ["maxLength"]),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_the_kafka_chart_refuses(values: str, changes: dict[str, Any], says: list[str], tmp_path: Path) -> None:
    told = refusal("factory-kafka", values, changes, tmp_path, "kafka")
    assert all(part in told for part in says), told
