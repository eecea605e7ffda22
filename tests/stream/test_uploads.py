"""`POST /score` keeps no probe out, however slowly people's images come."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException, Request
from support.plant import null_recipes
from support.replica import Replica
from support.stream import picture

from pipeline.detectors.null import make_null_bundle
from pipeline.replica.recipes import Recipe, load_catalog

pytestmark = pytest.mark.unit


@pytest.fixture
def replica(tmp_path: Path) -> Any:
    make_null_bundle(tmp_path / "null", 32, 32)
    made = Replica()
    made._catalog = load_catalog({name: Recipe(**recipe) for name, recipe in null_recipes(tmp_path).items()})
    return made


def impatient(replica: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve's door gives the class a copy of its module's globals."""
    monkeypatch.setitem(type(replica).score.__globals__, "_UPLOAD_S", 0.2)


def upload(body: bytes | None) -> Request:
    """None: nothing of it ever comes."""

    async def receive() -> dict[str, Any]:
        if body is None:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


async def status(asked: Any) -> int:
    try:
        await asked
    except HTTPException as error:
        return error.status_code
    return 200


def test_an_image_that_does_not_come_is_given_up(replica: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen of them kept a replica from every other request, the probes of its balancer among them."""
    impatient(replica, monkeypatch)
    assert asyncio.run(status(replica.score("null", upload(None)))) == 408


def test_more_than_a_few_at_once_are_refused_and_the_next_is_taken(
    replica: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(replica, monkeypatch)

    async def many() -> list[int]:
        return await asyncio.gather(*(status(replica.score("null", upload(None))) for _ in range(16)))

    assert sorted(asyncio.run(many())) == [408] * 4 + [503] * 12
    assert asyncio.run(status(replica.score("null", upload(picture())))) == 200


def test_images_are_scored_one_after_the_other_also_where_their_askers_hang_up(replica: Any) -> None:
    """Serve cancels a request whose client is gone, and its thread went on beside the next one's: of pictures of 12
    megapixels, each of which takes gigabytes at work, a client that was impatient and tried again filled any memory."""
    begun, go_on = threading.Semaphore(0), threading.Event()
    at_work, most = 0, 0
    detector = replica._catalog.recipes["null"].detector
    predict = detector.predict

    def slowly(batch: Any) -> Any:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        begun.release()
        assert go_on.wait(60)
        at_work -= 1
        return predict(batch)

    detector.predict = slowly

    async def impatience() -> list[int]:
        asked = [asyncio.ensure_future(status(replica.score("null", upload(picture())))) for _ in range(3)]
        assert await asyncio.to_thread(begun.acquire, timeout=60)
        asked[0].cancel()
        asked.append(asyncio.ensure_future(status(replica.score("null", upload(picture())))))
        await asyncio.gather(asked[0], return_exceptions=True)
        await asyncio.to_thread(begun.acquire, timeout=0.2)  # meanwhile another would begin
        go_on.set()
        return await asyncio.gather(*asked[1:])

    assert asyncio.run(impatience()) == [200, 200, 200]
    assert most == 1
