"""`POST /score` keeps no probe out, however slowly people's images come."""

import asyncio
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
