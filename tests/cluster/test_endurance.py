"""Fault after fault on one plant: what a single fault leaves behind must not break the next."""

import random
import time

import pytest
from support.plant import Plant
from support.stream import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1200)]

ROUNDS = 12
SEED = 11


def strike(plant: Plant, chosen: random.Random) -> str:
    """One fault of 2 to 14 s. Returns what it was."""
    kind, seconds = chosen.choice(["broker stopped", "broker frozen", "Redis stopped"]), chosen.uniform(2, 14)
    begin, end = {
        "broker stopped": (plant.broker.stop, plant.broker.start),
        "broker frozen": (plant.broker.pause, plant.broker.resume),
        "Redis stopped": (plant.valkey.stop, plant.valkey.start),
    }[kind]
    begin()
    try:
        time.sleep(seconds)
    finally:
        end()
    return f"{kind} for {seconds:.0f} s"


def test_after_every_fault_frames_are_scored_and_the_line_is_held_once(plant: Plant) -> None:
    """Two cameras run all the time; a line of its own tells after each fault that everything works again."""
    chosen = random.Random(SEED)
    cameras = plant.cameras("enduring", frames=ROUNDS * 200, fps=4)
    for number in range(ROUNDS):
        fault, line = strike(plant, chosen), f"after-{number}"
        plant.cameras(line, frames=20, fps=20, defects=range(20), count=1)
        accounts = plant.settled(line, 20, timeout_s=120)
        wait_until(lambda line=line: len(plant.holds(line)) > 0)
        accounts += plant.accounts("enduring")
        assert all(account.balanced for account in accounts), (fault, accounts)
        assert len(plant.holds(line)) == 1, fault
    cameras.stop(30)
    captured = sum(account.captured for account in plant.accounts("enduring"))
    accounts = plant.settled("enduring", captured)
    assert all(account.balanced for account in accounts), accounts
    assert not any(account.dropped or account.missing for account in accounts), accounts
