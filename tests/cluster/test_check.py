"""`andon check`, as `helm test` runs it."""

import pytest
from support.plant import Plant
from support.stream import wait_until

from pipeline.audit.take_stock import take_stock
from pipeline.events import CHECK
from pipeline.kafka.admin import ensure_topics
from workers.trying import NotScoredError, try_recipe

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300, func_only=True)]


def test_one_frame_comes_back_as_a_score_and_is_accounted_for(plant: Plant) -> None:
    check = plant.worker("check", "check", "--recipe", "null", "--timeout-s", "150")
    wait_until(lambda: not check.running, timeout_s=240)
    assert check.exit_code == 0, check.log_tail()
    assert "NOT_DECIDABLE (wrong_size) by" in check.log.read_text()
    (account,) = (one for one in take_stock(plant.settings) if one.camera_id == CHECK)
    assert (account.captured, account.scored, account.balanced) == (1, 1, True)


def test_a_recipe_that_nobody_has_or_that_does_not_name_it_is_told_at_once_and_with_what_to_do(plant: Plant) -> None:
    """The reason lay in frames.dead a second later; the command waited a minute, and then asked whether a replica is
    up."""
    with pytest.raises(NotScoredError, match=r"unknown_camera: .*recipe 'none'; recipes here: .*Put andon-check under"):
        try_recipe(plant.settings, "none", timeout_s=200)


def test_without_a_replica_it_says_where_to_look(plant: Plant) -> None:
    elsewhere = plant.settings.model_copy(update={"andon_topic_prefix": "nobody."})
    ensure_topics(elsewhere, elsewhere.topics)
    with pytest.raises(NotScoredError, match=r"neither a score nor a dead letter came in 2 s\. Is a replica up"):
        try_recipe(elsewhere, "null", timeout_s=2)
