"""The Serve application: its HTTP door, and a change of recipes while frames flow."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from support.plant import Plant, null_recipes
from support.stream import picture, scores_in, wait_until

from pipeline.detectors.null import make_null_bundle
from pipeline.events import LineCommand, Score, ShadowSkip, Verdict
from pipeline.kafka.reading import read_to_end
from pipeline.topics import MAX_FRAME_BYTES

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300, func_only=True)]


def post(plant: Plant, recipe: str, body: bytes, token: str | None = None) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {plant.environment['ANDON_HTTP_TOKEN'] if token is None else token}"}
    request = urllib.request.Request(f"{plant.inference.url}/score/{recipe}", body, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_one_uploaded_image_is_scored(plant: Plant) -> None:
    status, found = post(plant, "null", picture(220, seed=1))
    assert status == 200
    assert found["verdict"] == "NOT_OK"
    assert found["map_png"]
    assert found["model"]["hash"]


@pytest.mark.parametrize("token", ["", "another", "of the plan"])
def test_no_image_is_judged_for_who_has_not_the_token(plant: Plant, token: str) -> None:
    assert post(plant, "null", picture(), token) == (401, {"detail": "wrong or missing bearer token"})


def test_an_image_of_another_size_is_not_decidable(plant: Plant) -> None:
    status, found = post(plant, "null", picture(size=(64, 64), seed=1))
    assert (status, found["verdict"], found["doubts"], found["score"]) == (200, "NOT_DECIDABLE", ["wrong_size"], None)


@pytest.mark.parametrize(
    ("recipe", "body", "status", "says"),
    [
        ("none", picture(), 404, "no recipe 'none'; there are: null"),
        ("null", b"junk", 422, "undecodable"),
        ("null", b"", 422, "empty"),
        ("null", b"x" * (MAX_FRAME_BYTES + 1), 413, "more than"),
    ],
    ids=["unknown recipe", "junk", "empty", "too large"],
)
def test_what_cannot_be_scored_says_why(plant: Plant, recipe: str, body: bytes, status: int, says: str) -> None:
    found = post(plant, recipe, body)
    assert found[0] == status
    assert says in found[1]["detail"]


def test_a_replica_is_asked_for_its_health_by_head_too(plant: Plant) -> None:
    """It answered 405, and whoever asked so took it for ill."""
    asked = urllib.request.Request(f"{plant.inference.url}/healthz", method="HEAD")
    with urllib.request.urlopen(asked, timeout=60) as answer:
        assert answer.status == 200


def test_a_replica_of_one_machine_has_its_metrics_where_it_was_told(plant: Plant) -> None:
    """They were at another port at each start, and no Prometheus can follow that. By the last two
    the chart's alert knows that replicas are missing."""
    names = ("ray_andon_frames_lag", "ray_andon_replica_waiting", "ray_serve_autoscaling_target_replicas")

    def told() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{plant.inference.metrics_port}/metrics", timeout=60) as page:
                found = page.read().decode()
        except OSError:
            return False
        return all(f"\n{name}{{" in found for name in names)

    wait_until(told)


def test_health_names_the_models(plant: Plant) -> None:
    health = plant.health()
    assert health["recipes"]["null"]["method"] == "null"
    assert health["waiting_for"] is None


def test_a_change_of_recipes_takes_effect_without_losing_a_frame(plant: Plant, tmp_path: Path) -> None:
    cameras = plant.cameras("recipes", frames=300, fps=40)
    wait_until(lambda: sum(account.scored for account in plant.accounts("recipes")) > 50)
    before = plant.health()
    make_null_bundle(tmp_path / "next", 32, 32, threshold=0.9)
    recipes = null_recipes(plant.folder)
    recipes["null"]["bundle"] = str(tmp_path / "next")
    try:
        plant.reconfigure({"recipes": recipes, "max_batch": 8})
        wait_until(lambda: plant.health()["recipes"]["null"]["hash"] != before["recipes"]["null"]["hash"])
        accounts = plant.settled("recipes", 600)
        assert all(account.balanced for account in accounts), accounts
        assert sum(account.scored for account in accounts) == 600
        assert plant.health()["pid"] == before["pid"], "no replica was restarted"
        wait_until(lambda: cameras.exit_code == 0)
    finally:
        plant.reconfigure({"recipes": null_recipes(plant.folder), "max_batch": 8})
        wait_until(lambda: plant.health()["recipes"] == before["recipes"])


@pytest.mark.parametrize("broken", [{"bundle": "/no/such/bundle"}, {"bundel": "null"}], ids=["bundle", "key"])
def test_recipes_that_can_not_be_taken_leave_the_former_ones_at_work(plant: Plant, broken: dict[str, str]) -> None:
    """Serve ends a replica that refuses a configuration, and its successors could not load it either."""
    before = plant.health()
    recipes = null_recipes(plant.folder)
    recipes["null"] |= broken
    line = f"refused-{'-'.join(broken)}"
    try:
        plant.reconfigure({"recipes": recipes, "max_batch": 8})
        wait_until(lambda: plant.health()["refused"] is not None)
        assert next(iter(broken.values())) in plant.health()["refused"]
        cameras = plant.cameras(line, frames=20, fps=20)
        plant.settled(line, 40)
        wait_until(lambda: cameras.exit_code == 0)
        assert (plant.health()["pid"], plant.health()["recipes"]) == (before["pid"], before["recipes"])
    finally:
        plant.reconfigure({"recipes": null_recipes(plant.folder), "max_batch": 8})
        wait_until(lambda: plant.health()["refused"] is None)


def test_maps_and_device_follow_a_changed_configuration_without_a_restart(plant: Plant) -> None:
    before = plant.health()
    recipes = null_recipes(plant.folder)
    changed = {"map_ttl_s": 77, "lossless_maps": True, "device": "cpu"}
    try:
        plant.reconfigure({"recipes": recipes, "max_batch": 8, **changed})
        cameras = plant.cameras("expiring", frames=60, fps=10, loop=True)

        def brief() -> list[str]:
            mine = [score for score in scores_in(plant.settings) if score.line_id == "expiring"]
            lives = [(s, (s.map_expires_at - s.scored_at).total_seconds()) for s in mine if s.map_expires_at]
            return [str(score.map_key) for score, life in lives if life < 80]

        wait_until(lambda: bool(brief()))
        with redis.Redis.from_url(plant.settings.redis_address) as maps:
            wait_until(lambda: maps.hexists(brief()[-1], "map_f16"))
        assert plant.health()["pid"] == before["pid"]
        plant.settled("expiring", plant.stop(cameras, "expiring"))
    finally:
        plant.reconfigure({"recipes": recipes, "max_batch": 8})


def test_the_shipped_configurations_are_what_serve_expects() -> None:
    from ray.serve.schema import ServeDeploySchema

    from pipeline.serving import ServingConfig

    shipped = list((Path(__file__).parents[2] / "deploy" / "serve").glob("*.yaml"))
    assert shipped
    for path in shipped:
        schema = ServeDeploySchema.model_validate(yaml.safe_load(path.read_text()))
        for deployment in schema.applications[0].deployments:
            ServingConfig.model_validate(deployment.user_config)


def test_a_shadow_bundle_is_tried_beside_the_live_one_and_the_stops_it_would_make_are_told(
    plant: Plant, tmp_path: Path
) -> None:
    """Half of the frames are bright enough for the shadow's threshold alone: the live bundle stops nothing."""
    make_null_bundle(tmp_path / "live", 32, 32, threshold=0.95)
    make_null_bundle(tmp_path / "next", 32, 32, threshold=0.6)
    recipes = null_recipes(plant.folder)
    recipes["null"] |= {"bundle": str(tmp_path / "live"), "shadow": {"bundle": str(tmp_path / "next")}}
    config = {"recipes": recipes, "max_batch": 8, "shadow_within_ms": 5000}
    topic = plant.settings.topics.shadow_commands.name
    try:
        plant.reconfigure(config)
        wait_until(lambda: "null" in plant.health()["shadows"])
        assert plant.health()["shadows"]["null"]["bundle"] == "next"
        cameras = plant.cameras("shadowed", frames=40, fps=8, defects=range(40), loop=True)

        def mine() -> list[Score]:
            return [score for score in scores_in(plant.settings) if score.line_id == "shadowed"]

        def looked() -> list[Verdict]:
            return [score.shadow.verdict for score in mine() if score.shadow and score.shadow.verdict]

        # On a busy machine frames wait, and the shadow does not look at those.
        wait_until(lambda: looked().count(Verdict.NOT_OK) >= 10)
        frames = plant.stop(cameras, "shadowed")
        accounts = plant.settled("shadowed", frames)
        assert all(account.balanced for account in accounts), accounts
        assert {score.verdict for score in mine()} == {Verdict.OK}
        shadows = [score.shadow for score in mine() if score.shadow]
        assert len(shadows) == frames
        assert {shadow.threshold for shadow in shadows} == {0.6}
        assert {shadow.skipped for shadow in shadows} <= {None, ShadowSkip.BACKLOG}

        def told() -> list[LineCommand]:
            records = read_to_end(plant.settings, [topic])
            commands = [LineCommand.from_json(record.value) for record in records]
            return [command for command in commands if command.line_id == "shadowed"]

        wait_until(lambda: len(told()) > 0)
        (stop,) = {command.command_id: command for command in told()}.values()
        assert (stop.candidate, stop.simulated, stop.camera_id) == ("shadow:next", True, "shadowed-0")
        assert stop.model
        assert stop.model.hash == plant.health()["shadows"]["null"]["hash"]
        assert plant.holds("shadowed") == []

        recipes["null"]["shadow"]["bundle"] = str(tmp_path / "absent")
        plant.reconfigure(config)
        wait_until(lambda: "fault" in plant.health()["shadows"]["null"])
        assert "absent" in plant.health()["shadows"]["null"]["fault"]
        assert plant.health()["recipes"]["null"]["bundle"] == "live"
    finally:
        plant.reconfigure({"recipes": null_recipes(plant.folder), "max_batch": 8})
