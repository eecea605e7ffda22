"""The Kafka of a factory: topics as the code has them, users who may do what their component does and no more."""

from typing import Any

import pytest
import yaml
from support.charts import Mode, Object, Render, rendered

from pipeline import groups
from pipeline.topics import topics

pytestmark = pytest.mark.unit


def values_of(render: Render) -> dict[str, Any]:
    defaults = yaml.safe_load((render.mode.chart_folder / "values.yaml").read_text())
    own = yaml.safe_load(render.mode.values_file.read_text())
    return {key: {**value, **own.get(key, {})} if isinstance(value, dict) else value for key, value in defaults.items()}


def test_topics_are_those_of_the_code(kafka: Render) -> None:
    values = values_of(kafka)
    chosen = values["topics"]
    wanted = topics(
        chosen["prefix"], frame_partitions=chosen["framePartitions"], line_partitions=chosen["linePartitions"]
    )
    found = {topic["spec"]["topicName"]: topic["spec"] for topic in kafka.of_kind("KafkaTopic")}
    assert set(found) == {topic.name for topic in wanted}
    for topic in wanted:
        assert found[topic.name]["partitions"] == topic.partitions
        assert found[topic.name]["replicas"] == values["replication"]["factor"]
        changed = chosen["retention"].get(topic.name.removeprefix(chosen["prefix"]))
        if not changed:
            assert found[topic.name]["config"] == topic.config


def test_retention_can_be_chosen_and_changes_nothing_else(renders: dict[Mode, Render]) -> None:
    plant = renders[Mode("factory-kafka", "plant")]
    config = plant.one("KafkaTopic", "-frames")["spec"]["config"]
    expected = topics().frames.config | {"retention.ms": str(6 * 3600_000), "retention.bytes": str(32 * 1024**3)}
    assert config == expected


def test_kafka_and_its_data_outlive_the_release(kafka: Render) -> None:
    for found in kafka.objects:
        if found["apiVersion"].startswith("kafka.strimzi.io/"):
            assert found["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep", found["metadata"]["name"]
    for pool in kafka.of_kind("KafkaNodePool"):
        assert all(volume["deleteClaim"] is False for volume in pool["spec"]["storage"]["volumes"])


def test_everything_belongs_to_the_cluster(kafka: Render) -> None:
    cluster = kafka.one("Kafka")["metadata"]["name"]
    for found in kafka.objects:
        if found["kind"] != "Kafka":
            assert found["metadata"]["labels"]["strimzi.io/cluster"] == cluster


def test_kafkas_pods_are_restricted(kafka: Render) -> None:
    spec = kafka.one("Kafka")["spec"]
    templates = [spec["kafka"]["template"], spec["entityOperator"]["template"], spec["kafkaExporter"]["template"]]
    templates += [pool["spec"]["template"] for pool in kafka.of_kind("KafkaNodePool")]
    for template in templates:
        for part, content in template.items():
            security = content["securityContext"]
            assert security["runAsNonRoot"] is True
            assert security["seccompProfile"]["type"] == "RuntimeDefault"
            if part != "pod":
                assert security["allowPrivilegeEscalation"] is False
                assert security["capabilities"] == {"drop": ["ALL"]}


def rights(render: Render, user: str) -> set[tuple[str, str, str]]:
    """(operation, kind, name)"""
    acls = render.one("KafkaUser", f"-{user}")["spec"]["authorization"]["acls"]
    return {
        (operation, acl["resource"]["type"], acl["resource"]["name"]) for acl in acls for operation in acl["operations"]
    }


def test_only_alerting_may_stop_a_line_and_only_people_may_reset(renders: dict[Mode, Render]) -> None:
    plant = renders[Mode("factory-kafka", "plant")]
    users = [user["metadata"]["name"].removeprefix("kafka-") for user in plant.of_kind("KafkaUser")]
    may_stop = {user for user in users if ("Write", "topic", "line-commands") in rights(plant, user)}
    may_reset = {user for user in users if ("Write", "topic", "operations") in rights(plant, user)}
    assert (may_stop, may_reset) == ({"alerting"}, {"operator"})


def test_nobody_may_create_delete_or_alter(kafka: Render) -> None:
    for user in kafka.of_kind("KafkaUser"):
        operations = {o for acl in user["spec"]["authorization"]["acls"] for o in acl["operations"]}
        assert operations <= {"Read", "Write", "Describe", "DescribeConfigs"}


def test_nobody_but_readers_of_everything_reads_by_pattern(kafka: Render) -> None:
    for user in kafka.of_kind("KafkaUser"):
        wild = [
            acl
            for acl in user["spec"]["authorization"]["acls"]
            if "Read" in acl["operations"] or "Write" in acl["operations"]
            if acl["resource"]["type"] == "topic"
            if acl["resource"]["name"] == "*" or acl["resource"]["patternType"] == "prefix"
        ]
        if wild:
            assert user["metadata"]["name"] in ("kafka-operator", "kafka-data-platform")
            assert all(acl["operations"] == ["Read"] for acl in wild)


def test_consumers_may_join_the_groups_that_they_use(renders: dict[Mode, Render]) -> None:
    scram = renders[Mode("factory-kafka", "scram")]
    assert ("Read", "group", f"plant1.{groups.INSPECTION}") in rights(scram, "inference")
    assert ("Read", "group", f"plant1.{groups.ALERTING}") in rights(scram, "alerting")


def test_an_open_trial_has_no_users(renders: dict[Mode, Render]) -> None:
    trial = renders[Mode("factory-kafka", "trial")]
    assert not trial.of_kind("KafkaUser")
    assert "authorization" not in trial.one("Kafka")["spec"]["kafka"]


def test_the_notes_say_what_the_factory_chart_needs(renders: dict[Mode, Render]) -> None:
    """The values that the notes of one chart print are values of the other."""
    from support.charts import helm

    mode = Mode("factory-kafka", "plant")
    done = helm(
        "template", "kafka", mode.chart_folder, "--values", mode.values_file, "--show-only", "templates/NOTES.txt"
    )
    if done.returncode:  # Helm shows notes at an install only
        done = helm("install", "kafka", mode.chart_folder, "--values", mode.values_file, "--dry-run=client")
    notes = done.stdout[done.stdout.index("kafka:\n", done.stdout.index('chart "factory"')) :]
    told = yaml.safe_load(notes[: notes.index("`helm uninstall`")])["kafka"]
    assert told["bootstrap"] == "kafka-kafka-bootstrap:9093"
    names = {user["metadata"]["name"] for user in renders[mode].of_kind("KafkaUser")}
    assert {user["existingSecret"] for user in told["users"].values()} <= names


def test_both_charts_speak_of_the_same_users(plant: Render) -> None:
    rights_file = yaml.safe_load((Mode("factory-kafka", "plant").chart_folder / "files" / "rights.yaml").read_text())
    users = yaml.safe_load((plant.mode.chart_folder / "values.yaml").read_text())["kafka"]["users"]
    assert set(users) == set(rights_file)


def test_more_partitions_change_only_topics(renders: dict[Mode, Render]) -> None:
    mode = Mode("factory-kafka", "plant")

    def rest(render: Render) -> list[Object]:
        return [found for found in render.objects if found["kind"] != "KafkaTopic"]

    assert rest(rendered(mode, "--set", "topics.framePartitions=96")) == rest(renders[mode])


def test_the_default_topics_do_not_fill_the_default_disk() -> None:
    """A broker whose disk is full stops, and all lines with it."""
    values = yaml.safe_load((Mode("factory-kafka", "plant").chart_folder / "values.yaml").read_text())
    most = sum(topic.partitions * (max(0, topic.retention_bytes) + topic.segment_bytes) for topic in topics())
    copies, brokers = values["replication"]["factor"], values["brokers"]
    assert most * copies <= brokers["replicas"] * int(brokers["storage"].removesuffix("Gi")) * 1024**3
