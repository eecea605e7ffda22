"""The Kafka of a factory: topics as the code has them, users who may do what their component does and no more."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.charts import CHARTS, Mode, Object, Render, helm, rendered

from pipeline import groups
from pipeline.topics import topics
from workers.local import kafka_jars

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


def test_a_new_chart_version_restarts_no_pod_of_kafka(renders: dict[Mode, Render], tmp_path: Path) -> None:
    """Strimzi hands labels of a Kafka and of its pools on to their pods, and makes anew each pod that has another."""
    plant = renders[Mode("factory-kafka", "plant")]
    chart = tmp_path / "factory-kafka"
    shutil.copytree(plant.mode.chart_folder, chart)
    facts = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump(facts | {"version": "0.99.0"}))
    bumped = rendered(plant.mode, chart=chart)
    for kind in ("Kafka", "KafkaNodePool"):
        assert bumped.of_kind(kind) == plant.of_kind(kind)


@pytest.mark.parametrize(("values", "longest", "number"), [("plant", 24, 5), ("trial", 26, 0)])
def test_pods_of_the_longest_name_are_ones_that_kubernetes_takes(values: str, longest: int, number: int) -> None:
    """Strimzi makes a pod's host name of cluster, pool and number, and takes any length; no API server does."""
    found = rendered(Mode("factory-kafka", values), "--set", f"clusterName={'k' * longest}")
    pools = [pool["metadata"]["name"] for pool in found.of_kind("KafkaNodePool")]
    lengths = [len(f"{found.one('Kafka')['metadata']['name']}-{pool}-{number}") for pool in pools]
    assert max(lengths) in (62, 63)


def test_a_disk_may_be_told_in_bytes() -> None:
    """It became a number, and a KafkaNodePool takes none."""
    found = rendered(SCRAM, "--set-string", "brokers.storage=4000000000000,controllers.storage=10737418240")
    sizes = [volume["size"] for pool in found.of_kind("KafkaNodePool") for volume in pool["spec"]["storage"]["volumes"]]
    assert sizes == ["4000000000000", "10737418240"]


def test_everything_belongs_to_the_cluster(own_kafka: Render) -> None:
    cluster = own_kafka.one("Kafka")["metadata"]["name"]
    for found in own_kafka.objects:
        if found["kind"] != "Kafka":
            assert found["metadata"]["labels"]["strimzi.io/cluster"] == cluster


SCRAM, SECOND = Mode("factory-kafka", "scram"), Mode("factory-kafka", "second-factory")


def test_a_second_factory_is_topics_and_users_on_the_kafka_that_stands(renders: dict[Mode, Render]) -> None:
    first, second = renders[SCRAM], renders[SECOND]
    assert {found["kind"] for found in second.objects} == {"KafkaTopic", "KafkaUser"}
    cluster = first.one("Kafka")["metadata"]["name"]
    assert {found["metadata"]["labels"]["strimzi.io/cluster"] for found in second.objects} == {cluster}
    # What the notes delete it by is its own.
    assert {found["metadata"]["labels"]["app.kubernetes.io/instance"] for found in second.objects} == {"plant2"}
    assert not names(first) & names(second)
    # The user's authentication is what the listener asks for.
    asked = {listener["authentication"]["type"] for listener in first.one("Kafka")["spec"]["kafka"]["listeners"]}
    assert {user["spec"]["authentication"]["type"] for user in second.of_kind("KafkaUser")} == asked


COME_IN = {
    "nodeport": {"host": "kafka.plant.example", "nodePort": 32100},
    "loadbalancer": {"sourceRanges": ["10.20.0.0/24"], "loadBalancerClass": "example.com/lb"},
    "route": {"host": "kafka.plant.example", "brokerHost": "kafka-{nodeId}.plant.example"},
    "tlsroute": {
        "host": "kafka.plant.example",
        "brokerHost": "kafka-{nodeId}.plant.example",
        "gateway": {"name": "lines", "namespace": "gateways", "sectionName": "kafka", "port": 9443},
    },
}


def outside(mode: Mode, kind: str) -> Render:
    nothing = {"host": "", "nodePort": 0, "sourceRanges": None, "annotations": None}
    return rendered(mode, "--set-json", f"outside={json.dumps(nothing | {'type': kind} | COME_IN[kind])}")


def listeners(render: Render) -> tuple[Object, Object]:
    """The inner one and that for those outside."""
    inner, outer = render.one("Kafka")["spec"]["kafka"]["listeners"]
    return inner, outer


@pytest.mark.parametrize("kind", COME_IN)
@pytest.mark.parametrize("mode", [Mode("factory-kafka", "plant"), SCRAM], ids=str)
def test_those_outside_come_in_by_tls_and_with_the_same_users(mode: Mode, kind: str) -> None:
    inner, outer = listeners(outside(mode, kind))
    assert outer["type"] == kind
    assert outer["tls"] is True
    assert outer["authentication"] == inner["authentication"]
    assert (outer["name"], outer["port"]) == ("external", 9094), "by which Services have names that are short enough"


def test_a_certificate_holds_what_boxes_call_a_node_by() -> None:
    """Strimzi puts no node's address into it: clients that look at names, as ours do, believed no broker."""
    _, outer = listeners(outside(SCRAM, "nodeport"))
    assert outer["configuration"]["bootstrap"]["alternativeNames"] == ["kafka.plant.example"]
    assert outer["configuration"]["advertisedHostTemplate"] == "kafka.plant.example"


def test_a_firewall_can_know_the_port_of_every_broker() -> None:
    """Strimzi counts brokers and controllers together, so a broker that is added comes behind the controllers."""
    found = outside(SCRAM, "nodeport")
    _, outer = listeners(found)
    nodes = sum(pool["spec"]["replicas"] for pool in found.of_kind("KafkaNodePool"))
    ports = {each["broker"]: each["nodePort"] for each in outer["configuration"]["brokers"]}
    assert {number: ports[number] for number in range(nodes + 1)} == {n: 32101 + n for n in range(nodes + 1)}
    assert outer["configuration"]["bootstrap"]["nodePort"] not in ports.values()


def test_kafka_behind_node_ports_may_run_in_a_restricted_namespace() -> None:
    """There Strimzi asks for the node's address in a container of its own, in controllers, too."""
    pools = outside(SCRAM, "nodeport").of_kind("KafkaNodePool")
    assert len(pools) == 2
    for pool in pools:
        template = pool["spec"]["template"]
        assert template["initContainer"]["securityContext"] == template["kafkaContainer"]["securityContext"]


def test_a_gateway_leads_to_each_broker_by_its_name() -> None:
    _, outer = listeners(outside(SCRAM, "tlsroute"))
    told = outer["configuration"]
    assert (told["bootstrap"]["host"], told["hostTemplate"]) == ("kafka.plant.example", "kafka-{nodeId}.plant.example")
    assert told["advertisedPortTemplate"] == "9443"
    (parent,) = told["parentRefs"]
    assert (parent["namespace"], parent["name"], parent["sectionName"]) == ("gateways", "lines", "kafka")


def test_nobody_comes_in_from_outside_unless_somebody_says_so(renders: dict[Mode, Render]) -> None:
    for values in ("trial", "second-factory"):
        for kafka in renders[Mode("factory-kafka", values)].of_kind("Kafka"):
            assert [each["type"] for each in kafka["spec"]["kafka"]["listeners"]] == ["internal"]


def names(render: Render) -> set[tuple[str, str]]:
    """Of the objects, and of the topics that they stand for."""
    topics = {("topic", found["spec"]["topicName"]) for found in render.of_kind("KafkaTopic")}
    return topics | {(found["kind"], found["metadata"]["name"]) for found in render.objects}


def test_the_users_of_one_factory_may_do_nothing_in_another(renders: dict[Mode, Render]) -> None:
    for mode, prefix in ((SCRAM, "plant1."), (SECOND, "plant2.")):
        for user in renders[mode].of_kind("KafkaUser"):
            for acl in user["spec"]["authorization"]["acls"]:
                assert acl["resource"]["name"].startswith(prefix), user["metadata"]["name"]


def test_the_exporter_tells_of_every_factory_on_its_kafka(own_kafka: Render) -> None:
    """The second's topics and groups have a prefix that the release with the cluster does not know."""
    exporter = own_kafka.one("Kafka")["spec"]["kafkaExporter"]
    assert "topicRegex" not in exporter
    assert "groupRegex" not in exporter


def test_secrets_can_be_marked_for_a_program_that_copies_them() -> None:
    told = {"reflector.example/copy-to": "plant2"}
    found = rendered(SCRAM, "--set-json", f"security.secretAnnotations={json.dumps(told)}")
    for user in found.of_kind("KafkaUser"):
        assert user["spec"]["template"]["secret"]["metadata"]["annotations"] == told
    assert found.one("Kafka")["spec"]["kafka"]["template"]["clusterCaCert"]["metadata"]["annotations"] == told


def test_kafkas_pods_are_restricted(own_kafka: Render) -> None:
    spec = own_kafka.one("Kafka")["spec"]
    templates = [spec["kafka"]["template"], spec["entityOperator"]["template"], spec["kafkaExporter"]["template"]]
    templates += [pool["spec"]["template"] for pool in own_kafka.of_kind("KafkaNodePool")]
    for template in templates:
        for part, content in template.items():
            if part.endswith("Service"):
                continue
            security = content["securityContext"]
            assert security["runAsNonRoot"] is True
            assert security["seccompProfile"]["type"] == "RuntimeDefault"
            if part != "pod":
                assert security["allowPrivilegeEscalation"] is False
                assert security["capabilities"] == {"drop": ["ALL"]}


def test_a_namespace_with_a_quota_can_take_every_pod_of_kafka(own_kafka: Render) -> None:
    """There each container must name its requests and limits, or none of its pods comes up. Strimzi's operators and
    exporter named none: no topic was made, and no user."""
    cores = "brokers.resources.limits.cpu=2,controllers.resources.limits.cpu=1"
    found = rendered(own_kafka.mode, "--set-string", cores)
    spec = found.one("Kafka")["spec"]
    named = {pool["metadata"]["name"]: pool["spec"] for pool in found.of_kind("KafkaNodePool")}
    operators = {name: part for name, part in spec["entityOperator"].items() if name != "template"}
    for name, part in (named | operators | {"kafkaExporter": spec["kafkaExporter"]}).items():
        for kind in ("requests", "limits"):
            amounts = part.get("resources", {}).get(kind, {})
            assert amounts.get("memory"), f"{name}: {kind}"
            assert amounts.get("cpu"), f"{name}: {kind}"


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
            assert user["metadata"]["name"] in ("kafka-operator", "kafka-data-platform", "plant2-operator")
            assert all(acl["operations"] == ["Read"] for acl in wild)


def test_consumers_may_join_the_groups_that_they_use(renders: dict[Mode, Render]) -> None:
    scram = renders[Mode("factory-kafka", "scram")]
    assert ("Read", "group", f"plant1.{groups.INSPECTION}") in rights(scram, "inference")
    assert ("Read", "group", f"plant1.{groups.ALERTING}") in rights(scram, "alerting")


def test_an_open_trial_has_no_users(renders: dict[Mode, Render]) -> None:
    trial = renders[Mode("factory-kafka", "trial")]
    assert not trial.of_kind("KafkaUser")
    assert "authorization" not in trial.one("Kafka")["spec"]["kafka"]


def notes(mode: Mode) -> str:
    done = helm(
        "install", mode.release, mode.chart_folder, "--values", mode.values_file, "--namespace", "streams",
        "--dry-run=client",
    )  # fmt: skip
    return done.stdout[done.stdout.index("NOTES:") :]


@pytest.mark.parametrize("mode", [Mode("factory-kafka", "plant"), SECOND], ids=str)
def test_the_notes_say_what_the_factory_chart_needs(renders: dict[Mode, Render], mode: Mode) -> None:
    """The values that the notes of one chart print are values of the other, also in another namespace."""
    said = notes(mode)
    said = said[said.index("  kafka:\n", said.index('chart "factory"')) :]
    told = yaml.safe_load(said[: said.index("\n\n")])["kafka"]
    assert told["bootstrap"] == "kafka-kafka-bootstrap.streams.svc:9093"
    assert told.get("topicPrefix", "") == values_of(renders[mode])["topics"]["prefix"]
    users = {user["metadata"]["name"] for user in renders[mode].of_kind("KafkaUser")}
    assert {user["existingSecret"] for user in told["users"].values()} <= users


def test_the_notes_say_where_those_outside_find_kafka() -> None:
    said = notes(SCRAM)
    assert "echo kafka.plant1.example:$(kubectl -n streams get service kafka-kafka-external-bootstrap" in said
    said = notes(Mode("factory-kafka", "plant"))
    assert """get kafka/kafka -o jsonpath='{.status.listeners[?(@.name=="external")].bootstrapServers}'""" in said
    assert "Outside of the cluster" not in notes(Mode("factory-kafka", "trial"))


def test_what_the_notes_delete_is_of_this_release_alone() -> None:
    assert "delete kafkatopics,kafkausers -l app.kubernetes.io/instance=plant2\n" in notes(SECOND) + "\n"


def test_both_charts_speak_of_the_same_users(plant: Render) -> None:
    rights_file = yaml.safe_load((Mode("factory-kafka", "plant").chart_folder / "files" / "rights.yaml").read_text())
    users = yaml.safe_load((plant.mode.chart_folder / "values.yaml").read_text())["kafka"]["users"]
    assert set(users) == set(rights_file)


def test_a_platform_may_give_out_group_ids_by_itself(renders: dict[Mode, Render]) -> None:
    """OpenShift refuses a pod that asks for a group which is not its namespace's, as 0 never is."""
    mode = Mode("factory-kafka", "plant")
    asked = repr(renders[mode].objects)
    assert asked.count("'fsGroup': 0") == 5
    found = repr(rendered(mode, "--set", "podSecurity.fsGroup=null").objects)
    assert found == asked.replace(", 'fsGroup': 0", "")


def test_every_pod_of_kafka_fits_where_all_nodes_are_tainted() -> None:
    """The brokers alone did, and waited for controllers that no node took."""
    taint = {"key": "plant", "operator": "Exists", "effect": "NoSchedule"}
    every = ["--set-json", f"tolerations={json.dumps([taint])}"]
    mode = Mode("factory-kafka", "plant")
    found = rendered(mode, *every)
    kafka = found.one("Kafka")["spec"]
    templates = [pool["spec"]["template"] for pool in found.of_kind("KafkaNodePool")]
    templates += [kafka["entityOperator"]["template"], kafka["kafkaExporter"]["template"]]
    assert len(templates) == 4
    assert all(template["pod"]["tolerations"] == [taint] for template in templates)

    own = {"key": "disks", "operator": "Exists"}
    brokers, controllers = (
        pool["spec"]["template"]["pod"]["tolerations"]
        for pool in rendered(mode, *every, "--set-json", f"brokers.tolerations={json.dumps([own])}").of_kind(
            "KafkaNodePool"
        )
    )
    assert (brokers, controllers) == ([own], [taint])


def test_a_retention_may_be_left_empty(renders: dict[Mode, Render]) -> None:
    """`retention:` with its topics commented out is null."""
    scram = renders[SCRAM]
    assert rendered(SCRAM, "--set", "topics.retention=null").objects == scram.objects


def test_more_partitions_change_only_topics(renders: dict[Mode, Render]) -> None:
    mode = Mode("factory-kafka", "plant")

    def rest(render: Render) -> list[Object]:
        return [found for found in render.objects if found["kind"] != "KafkaTopic"]

    roomy = "brokers.storage=4Ti"
    more = rendered(mode, "--set", roomy, "--set", "topics.framePartitions=96")
    assert rest(more) == rest(rendered(mode, "--set", roomy))


@pytest.mark.parametrize("brokers", [3, 5])
def test_topics_may_not_fill_the_disks(brokers: int, tmp_path: Path) -> None:
    """A broker whose disk is full stops, and all lines with it."""
    most = sum(
        topic.partitions * (max(0, topic.retention_bytes) + topic.segment_bytes)
        for topic in topics(frame_partitions=24)
    )
    least = most * 3 // brokers // 1024**3 + 1
    chart = tmp_path / "defaults.yaml"

    def rendered_with(storage: int) -> str:
        values = {"brokers": {"replicas": brokers, "storage": f"{storage}Gi"}, "topics": {"framePartitions": 24}}
        chart.write_text(yaml.safe_dump(values))
        folder = Mode("factory-kafka", "plant").chart_folder
        return helm("template", "kafka", folder, "--values", chart).stderr

    assert not rendered_with(least)
    assert f"topics may take {least - 1}Gi of each broker" in rendered_with(least - 1)


def test_one_node_away_is_one_pod_of_kafka_away(renders: dict[Mode, Render]) -> None:
    """Brokers were spread where it suited, and the three controllers might have been on one node."""
    pools = renders[Mode("factory-kafka", "plant")].of_kind("KafkaNodePool")
    assert len(pools) == 2
    for pool in pools:
        spread = {each["topologyKey"]: each for each in pool["spec"]["template"]["pod"]["topologySpreadConstraints"]}
        assert spread["kubernetes.io/hostname"]["whenUnsatisfiable"] == "DoNotSchedule"
        assert "topology.kubernetes.io/zone" in spread
        for each in spread.values():
            assert each["labelSelector"]["matchLabels"] == {"strimzi.io/pool-name": pool["metadata"]["name"]}
            assert each["nodeTaintsPolicy"] == "Honor", (
                "a node that takes none of these pods would count as an empty one"
            )


STRIMZI_RUNS = {"Strimzi 1.2": ("4.2.0", "4.2.1", "4.3.0", "4.3.1")}
"""Versions of Kafka, from Strimzi's release notes. Of any other it makes no pod."""


def test_strimzi_runs_the_kafka_that_is_deployed() -> None:
    facts = yaml.safe_load((Mode("factory-kafka", "plant").chart_folder / "Chart.yaml").read_text(encoding="utf-8"))
    assert facts["appVersion"] == STRIMZI_RUNS[facts["annotations"]["andon/operators"]][-1]


def test_compose_runs_the_kafka_that_is_tested() -> None:
    compose = yaml.safe_load((CHARTS.parent / "compose.yaml").read_text(encoding="utf-8"))
    tested = kafka_jars.LIST.read_text(encoding="utf-8").split()[3]
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{tested}"
