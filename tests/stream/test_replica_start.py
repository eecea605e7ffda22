"""A replica that starts before Kafka does or without a configuration, and one whose poll thread reads no more."""

import asyncio
import re
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from pydantic import ValidationError
from support.plant import null_recipes
from support.replica import Replica
from support.stream import Collect, running, settings_for, wait_until

from pipeline.detectors.null import make_null_bundle
from pipeline.errors import AndonError
from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.step import ConsumerOptions, LoopState
from pipeline.replica.recipes import Catalog, Recipe
from pipeline.serving import ServingConfig
from workers.local.kafka_broker import KafkaBroker

pytestmark = pytest.mark.services


def test_a_replica_without_a_configuration_is_not_well() -> None:
    """Serve called it RUNNING and /healthz answered 200, while no frame was ever taken."""
    with pytest.raises(RuntimeError, match="no user_config"):
        Replica().check_health()


def reading(thread: threading.Thread, turned_s_ago: float) -> Any:
    """A replica whose poll thread is this one. No broker makes a loop stand still or die to order."""
    replica = Replica()
    replica._config = ServingConfig(recipes={"any": Recipe(bundle="any", cameras=("*",))}, stuck_after_s=30)
    replica._loop = SimpleNamespace(state=LoopState(time.monotonic() - turned_s_ago))
    replica._thread = thread
    return replica


def test_a_replica_that_waits_for_kafka_at_its_start_says_so() -> None:
    """It looked like one that takes frames and has nothing to do."""
    replica = reading(threading.current_thread(), turned_s_ago=1)
    replica._thread = replica._loop = None
    assert asyncio.run(replica.healthz())["waiting_for"] == "Kafka, and its topics"


def test_a_replica_tells_no_lag_that_it_never_heard_of() -> None:
    assert asyncio.run(reading(threading.current_thread(), turned_s_ago=1).healthz())["lag"] is None


def test_a_replica_tells_how_old_its_lag_is(own_kafka: KafkaBroker, unique: str) -> None:
    """`lag: 0` of a minute ago looked like a plant whose every frame is scored, while Kafka was away."""
    settings = settings_for(own_kafka.bootstrap, unique)
    ensure_topics(settings, settings.topics)
    options = ConsumerOptions(settings.group("test"), (settings.topics.frames.name,))
    replica = reading(threading.current_thread(), turned_s_ago=1)

    def age_s() -> float:
        told: float | None = asyncio.run(replica.healthz())["lag_age_s"]
        return float("inf") if told is None else told

    with running(settings, options, Collect()) as replica._loop:
        wait_until(lambda: age_s() < 5)
        own_kafka.kill()
        wait_until(lambda: age_s() > 10)
        own_kafka.start()
        wait_until(lambda: age_s() < 5)


def test_a_replica_whose_poll_thread_stands_still_is_not_well() -> None:
    reading(threading.current_thread(), turned_s_ago=25).check_health()
    with pytest.raises(RuntimeError, match="has stood still for 31 s"):
        reading(threading.current_thread(), turned_s_ago=31).check_health()


def test_a_time_by_which_a_well_replica_would_be_called_hung_is_refused() -> None:
    """A commit and a first connection may take 5 and 8 s each: Serve ended such replicas while Kafka was slow."""
    with pytest.raises(ValidationError, match="stuck_after_s"):
        ServingConfig(recipes={"any": Recipe(bundle="any", cameras=("*",))}, stuck_after_s=10)


def test_a_replica_says_in_a_line_which_key_of_its_recipes_is_wrong() -> None:
    """The names of classes and the address of a page on the web stood between the words."""
    replica = reading(threading.current_thread(), turned_s_ago=1)
    asyncio.run(replica.reconfigure({"recipes": {"cell": {"bundle": "any", "cameras": "mono-*"}}, "max_batsh": 4}))
    told = "recipes.cell.cameras: Input should be a valid tuple; max_batsh: Extra inputs are not permitted"
    assert asyncio.run(replica.healthz())["refused"] == told


async def within_a_minute(story: Coroutine[Any, Any, None], held: threading.Event) -> None:
    try:
        async with asyncio.timeout(60):
            await story
    finally:
        held.set()


def test_a_replica_tells_of_bundles_whose_storage_does_not_answer_and_takes_what_comes_after(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Serve waited for it without an end: it sent no request, called no check of health, and the former configuration,
    deployed again, never came. A file server that is away can't be had in a test, so what reads from it is held."""
    replica = reading(threading.current_thread(), turned_s_ago=1)
    replica._loop.resize = lambda most: None
    names, answers = type(replica).reconfigure.__globals__, threading.Event()
    load = names["load_catalog"]
    make_null_bundle(tmp_path / "null", 32, 32)
    at_hand, away = null_recipes(tmp_path), {"away": {**null_recipes(tmp_path)["null"], "cameras": ["away-*"]}}

    def load_once_it_answers(recipes: Any, *others: Any) -> Any:
        if "away" in recipes:
            answers.wait()
        return load(recipes, *others)

    async def story() -> None:
        # Of two cores it has six threads, and what hangs must keep none of them.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        await replica.reconfigure({"recipes": away})
        assert "not taken yet: its bundles have been loading" in (await replica.healthz())["refused"]
        await replica.reconfigure({"recipes": at_hand})
        await replica._taking
        health = await replica.healthz()
        assert (health["refused"], list(health["recipes"])) == (None, ["null"])
        await replica.reconfigure({"recipes": away})
        obsolete = replica._taking
        await replica.reconfigure({"recipes": at_hand})
        await replica._taking
        answers.set()
        await obsolete
        assert list((await replica.healthz())["recipes"]) == ["null"], "an older one is not taken over a newer"
        answers.clear()
        await replica.reconfigure({"recipes": away})
        answers.set()
        await replica._taking
        health = await replica.healthz()
        assert (health["refused"], list(health["recipes"])) == (None, ["away"])

    monkeypatch.setitem(names, "load_catalog", load_once_it_answers)
    monkeypatch.setitem(names, "_SLOW_LOAD_S", 0.2)
    asyncio.run(within_a_minute(story(), answers))


def test_a_replica_that_starts_tells_of_bundles_whose_storage_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    replica = Replica()
    names, answers = type(replica).reconfigure.__globals__, threading.Event()
    monkeypatch.setattr(names["log"], "propagate", True)
    monkeypatch.setitem(names, "load_catalog", lambda *_: answers.wait() and Catalog({"no": "recipe"}))
    monkeypatch.setitem(names, "await_topics", lambda *_: False)
    monkeypatch.setitem(names, "_SLOW_LOAD_S", 0.05)

    async def story() -> None:
        starting = asyncio.ensure_future(replica.reconfigure({"recipes": {"any": {"bundle": "any", "cameras": ["*"]}}}))
        while "configuration is not taken yet: its bundles have been loading" not in caplog.text:
            assert not starting.done()
            await asyncio.sleep(0.01)
        answers.set()
        await starting
        assert replica._catalog.recipes == {"no": "recipe"}, "it goes on waiting: nothing else could be done"

    asyncio.run(within_a_minute(story(), answers))


def test_a_first_configuration_that_is_wrong_is_refused_in_a_line() -> None:
    """`serve status` told of pydantic's classes, and of the address of a page on the web."""
    wrong = {"recipes": {"cell": {"bundle": "any", "cameras": "mono-*"}}, "max_batsh": 4}
    told = "recipes.cell.cameras: Input should be a valid tuple; max_batsh: Extra inputs are not permitted"
    with pytest.raises(AndonError, match=f"^this user_config can't be taken: {re.escape(told)}$"):
        asyncio.run(Replica().reconfigure(wrong))


def test_a_replica_whose_poll_thread_is_dead_is_not_well() -> None:
    ended = threading.Thread(target=int)
    ended.start()
    ended.join()
    with pytest.raises(RuntimeError, match="the poll thread is dead"):
        reading(ended, turned_s_ago=1).check_health()


def test_a_replica_closes_all_that_it_opened_although_one_of_it_raises(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    replica = Replica()
    made = {name: MagicMock() for name in ("MapStore", "Publisher", "ThreadPoolExecutor", "ConsumerLoop")}
    for name, opened in made.items():  # Serve's door gives the class a copy of its module's globals
        monkeypatch.setitem(type(replica)._start.__globals__, name, lambda *_, opened=opened, **__: opened)
    made["Publisher"].close.side_effect = RuntimeError("no answer")
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    replica._tracer = MagicMock()
    replica._start(ServingConfig(recipes={"any": Recipe(bundle="any", cameras=("*",))}))
    replica._thread.join(10)
    made["ThreadPoolExecutor"].shutdown.assert_called_once()
    made["MapStore"].close.assert_called_once()
    replica._tracer.close.assert_called_once()


def test_a_replica_waits_for_kafka_and_then_takes_frames(
    own_kafka: KafkaBroker, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Serve gives a replica that raises at its start three tries, and none after that, whoever comes back."""
    settings = settings_for(own_kafka.bootstrap, unique)
    ensure_topics(settings, settings.topics)
    for name in ("kafka_bootstrap", "andon_topic_prefix", "andon_frame_partitions", "andon_line_partitions"):
        monkeypatch.setenv(name.upper(), str(getattr(settings, name)))
    make_null_bundle(tmp_path / "null", 32, 32)
    own_kafka.kill()
    replica = Replica()
    start = threading.Timer(12, own_kafka.start)  # a first connection is given up after 8 s
    start.start()
    try:
        asyncio.run(replica.reconfigure({"recipes": null_recipes(tmp_path)}))
        replica.check_health()
        health = asyncio.run(replica.healthz())
        assert health["recipes"]["null"]["method"] == "null"
    finally:
        start.join()
        asyncio.run(replica.end())
