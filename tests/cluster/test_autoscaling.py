"""Serve adds a replica when Kafka's backlog asks for it, and takes it away again."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from support.plant import Plant, null_recipes
from support.stream import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest.fixture
def scaled(plant: Plant) -> Iterator[Plant]:
    """With a policy that takes any work at all for too much, so that a null detector is enough."""
    user_config = {"recipes": null_recipes(plant.folder), "max_batch": 8}
    policy = {
        "policy_function": "pipeline.autoscaling:ByBacklog",
        "policy_kwargs": {"catch_up_s": 1, "target_busy": 0.001},
    }
    autoscaling: dict[str, Any] = {
        "min_replicas": 1,
        "max_replicas": 2,
        "look_back_period_s": 2,
        "upscale_delay_s": 0,
        "downscale_delay_s": 1,
        "policy": policy,
    }
    before = replicas_seen(plant, set())
    plant.inference.reconfigure(
        {
            "num_replicas": None,
            "autoscaling_config": autoscaling,
            "user_config": user_config,
            "ray_actor_options": {"num_cpus": 0.1},
        }
    )
    wait_until(lambda: replaced(plant, before), timeout_s=60)
    yield plant
    before = replicas_seen(plant, set())
    plant.inference.reconfigure({"user_config": user_config})
    # Its resources have changed, so it is another replica; the next test wants it in its place.
    wait_until(lambda: replaced(plant, before), timeout_s=60)


def replaced(plant: Plant, before: set[int]) -> bool:
    now = replicas_seen(plant, set())
    return bool(now) and now.isdisjoint(before)


def replicas_seen(plant: Plant, seen: set[int]) -> set[int]:
    """The replicas that answered now or before; each request goes to one of them, or to none while they change."""
    for _ in range(8):
        with suppress(OSError):
            seen.add(plant.health()["pid"])
    return seen


def test_replicas_follow_the_backlog(scaled: Plant) -> None:
    seen = replicas_seen(scaled, set())
    assert len(seen) == 1
    cameras = scaled.cameras("scaling", frames=400, fps=20)
    try:
        wait_until(lambda: len(replicas_seen(scaled, seen)) == 2, timeout_s=90)
    finally:
        cameras.stop(20)
    wait_until(lambda: len(replicas_seen(scaled, set())) == 1, timeout_s=90)
    assert all(account.balanced for account in scaled.settled("scaling", frames=1))
