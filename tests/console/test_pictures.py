"""Pictures may be late or missing; who works at the page does not wait for them."""

import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from console.conftest import ConsoleProcess
from console.plant import BOOT, MODEL, Plant
from support.stream import make_anew, settings_for

from pipeline.kafka.admin import ensure_topics
from pipeline.settings import Settings
from workers.console.sessions import COOKIE, Sessions, new_session, read_secret
from workers.console.users import Users
from workers.local.valkey import Valkey

pytestmark = pytest.mark.services

BROWSERS = 13
CONNECTIONS = 6
"""That a browser opens to one server."""


@pytest.fixture
def settings(kafka_bootstrap: str, own_redis: Valkey) -> Settings:
    settings = settings_for(kafka_bootstrap, f"pictures-{uuid.uuid4().hex[:8]}.", own_redis.url)
    ensure_topics(settings, settings.topics)
    return settings


@pytest.fixture
def page(settings: Settings, tmp_path: Path) -> Iterator[ConsoleProcess]:
    process = ConsoleProcess(settings, tmp_path / "console")
    yield process
    process.stop()


def logged_in(page: ConsoleProcess) -> dict[str, str]:
    """The headers of who is."""
    user = Users(page.folder / "users.json").all["operator-1"]
    session = new_session("operator-1", user.fingerprint)
    return {"cookie": f"{COOKIE}={Sessions(read_secret(page.folder / 'session.key')).seal(session)}"}


def test_a_frame_that_took_the_place_of_another_is_not_shown_for_it(settings: Settings, page: ConsoleProcess) -> None:
    """In a topic of frames that was made anew, or after a power cut that took the end of its log."""
    with closing(Plant(settings)) as plant:
        (first,) = plant.shoot("line-1", "cam-1", "x")

        def shown() -> bytes:
            request = urllib.request.Request(f"{page.url}/pictures/{first.frame_id}/whole", headers=logged_in(page))
            with urllib.request.urlopen(request, timeout=60) as answer:
                found: bytes = answer.read()
                return found

        sent = shown()
        make_anew(settings, settings.topics.frames)
        (other,) = plant.shoot("line-1", "cam-1", ".")
        assert other.position == first.position
        stored = plant.maps.get(first.map_key or "")
        assert stored is not None
        assert sent != stored.thumbnail
        assert shown() == stored.thumbnail


def test_a_redis_that_hangs_holds_up_no_page(settings: Settings, own_redis: Valkey, tmp_path: Path) -> None:
    """It is given a minute and a half here, and not two seconds: for so long no picture comes."""
    patient = settings.model_copy(update={"redis_address": f"{own_redis.url}?socket_timeout=90"})
    page = ConsoleProcess(patient, tmp_path / "console")
    headers, answered = logged_in(page), list[int]()

    def ask(path: str) -> None:
        request = urllib.request.Request(page.url + path, headers=headers)
        with suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=120) as answer:
            answer.read()

    def look(number: int) -> None:
        ask(f"/pictures/cam-{number}:{BOOT}:0/{MODEL.hash}/thumbnail")
        answered.append(number)

    own_redis.pause()
    threads = [threading.Thread(target=look, args=(number,)) for number in range(BROWSERS * CONNECTIONS)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(2)  # by now all of them wait
        ask("/alarms")
        assert not answered
    finally:
        own_redis.resume()
        for thread in threads:
            thread.join()
        page.stop()
    assert len(answered) == len(threads)
