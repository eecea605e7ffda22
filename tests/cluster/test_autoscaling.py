"""Serve adds a replica when Kafka's backlog asks for it, and takes it away again."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from support.plant import Plant, null_recipes
from support.stream import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300, func_only=True)]


@pytest.fixture
def scaled(plant: Plant) -> Iterator[Plant]:
    """It may have a second replica."""
    recipes = null_recipes(plant.folder)
    before = plant.health()
    # By one recipe more is seen which of the two configurations has reached the replica.
    plant.reconfigure({"recipes": recipes | {"scaled": recipes["null"]}, "max_batch": 8}, most_replicas=2)
    wait_until(lambda: "scaled" in plant.health()["recipes"])
    assert plant.health()["pid"] == before["pid"], "no replica was restarted"
    yield plant
    plant.reconfigure({"recipes": recipes, "max_batch": 8})
    wait_until(lambda: plant.health()["recipes"] == before["recipes"])


def replicas_seen(plant: Plant) -> set[int]:
    """Each request goes to one of them, or to none while they change."""
    seen = set()
    for _ in range(8):
        with suppress(OSError):
            seen.add(plant.health()["pid"])
    return seen


def test_replicas_follow_the_backlog(scaled: Plant) -> None:
    assert len(replicas_seen(scaled)) == 1
    cameras = scaled.cameras("scaling", frames=60, fps=20, loop=True)
    try:
        wait_until(lambda: len(replicas_seen(scaled)) == 2, timeout_s=140)
    finally:
        cameras.stop(60)
    wait_until(lambda: len(replicas_seen(scaled)) == 1)
    assert all(account.balanced for account in scaled.settled("scaling", frames=1))
