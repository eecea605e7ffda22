"""Pictures may be late or missing; who works at the page does not wait for them."""

import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median

import pytest
from console.conftest import ConsoleProcess
from console.plant import BOOT, MODEL
from support.stream import settings_for

from pipeline.kafka.admin import ensure_topics
from workers.console.sessions import COOKIE, Sessions, new_session, read_secret
from workers.console.users import Users
from workers.local.valkey import Valkey

pytestmark = pytest.mark.services

BROWSERS = 13
CONNECTIONS = 6
"""That a browser opens to one server."""


@pytest.fixture
def page(kafka_bootstrap: str, own_redis: Valkey, tmp_path: Path) -> Iterator[ConsoleProcess]:
    settings = settings_for(kafka_bootstrap, f"pictures-{uuid.uuid4().hex[:8]}.", own_redis.url)
    ensure_topics(settings, settings.topics)
    process = ConsoleProcess(settings, tmp_path / "console")
    yield process
    process.stop()


def test_a_redis_that_hangs_holds_up_no_page(page: ConsoleProcess, own_redis: Valkey) -> None:
    user = Users(page.folder / "users.json").all["operator-1"]
    session = new_session("operator-1", user.fingerprint)
    cookie = f"{COOKIE}={Sessions(read_secret(page.folder / 'session.key')).seal(session)}"

    def ask(path: str) -> float:
        begun = time.monotonic()
        request = urllib.request.Request(page.url + path, headers={"cookie": cookie})
        with suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
        return time.monotonic() - begun

    over = threading.Event()

    def look(number: int) -> None:
        while not over.is_set():
            ask(f"/pictures/cam-{number}:{BOOT}:0/{MODEL.hash}/thumbnail")

    own_redis.pause()
    threads = [threading.Thread(target=look, args=(number,)) for number in range(BROWSERS * CONNECTIONS)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(2)  # by now all of them wait
        took = [ask("/alarms") for _ in range(5)]
    finally:
        over.set()
        own_redis.resume()
        for thread in threads:
            thread.join()
    assert median(took) < 3  # each of them would wait for Redis
