"""`andon check`, as `helm test` runs it."""

import pytest
from support.plant import Plant
from support.stream import wait_until

from pipeline.audit.take_stock import take_stock
from pipeline.events import CHECK
from workers.trying import NotScoredError, try_recipe

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


def test_one_frame_comes_back_as_a_score_and_is_accounted_for(plant: Plant) -> None:
    check = plant.worker("check", "check", "--recipe", "null", "--timeout-s", "60")
    wait_until(lambda: not check.running, timeout_s=90)
    assert check.exit_code == 0, check.log_tail()
    assert "NOT_DECIDABLE (wrong_size) by" in check.log.read_text()
    (account,) = (one for one in take_stock(plant.settings) if one.camera_id == CHECK)
    assert (account.captured, account.scored, account.balanced) == (1, 1, True)


def test_a_recipe_that_nobody_has_says_where_to_look(plant: Plant) -> None:
    with pytest.raises(NotScoredError, match=r"does recipe 'none' name the camera 'andon-check'\?.*frames\.dead"):
        try_recipe(plant.settings, "none", timeout_s=3)
