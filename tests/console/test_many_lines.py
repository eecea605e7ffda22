"""Of a plant of 500 lines a browser hears what has changed, and no more."""

import json
import re
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from alerting.factory import Line
from console.plant import score
from console.serving import served
from console.test_guard import desk_at, log_in
from console.test_memory import tell
from starlette.testclient import TestClient
from support.stream import wait_until

from pipeline.events import Act, Alarm, AlarmState, LineCommand, now, to_ms
from workers.console import tiles
from workers.console.app import create_app
from workers.console.drawing import Drawings
from workers.console.pages import common, events
from workers.console.pages.events import Browser
from workers.console.patience import Patience
from workers.console.sessions import COOKIE
from workers.console.tiles import Tile

LINES, STOPPED = 500, 60


class Factory:
    """A page over a plant that is told by hand: no line changes unless the test changes it."""

    def __init__(self, folder: Path) -> None:
        self.desk = desk_at(folder)
        self._burst = Line().burst()
        self.alarms: dict[str, Alarm] = {}
        self.commands: dict[str, LineCommand] = {}
        long_ago = now() - timedelta(days=2)  # such a camera counts as taken away, and grows no older
        for number in range(LINES):
            tell(self.desk.memory, score(0, camera=f"cam-{number}", line_id=f"line-{number}", captured_at=long_ago))
        for number in range(STOPPED):
            self.stop(f"line-{number}")
        self.drawn: list[str] = []
        """The line of each drawing, in their order."""
        self.app = create_app(self.desk)
        self._count(self.app.state.drawings)
        with TestClient(self.app, follow_redirects=False) as client:
            log_in(client, "operator")
            self.cookie = client.cookies[COOKIE]

    def stop(self, line: str) -> None:
        (alarm,), (command,) = self._burst.alarms, self._burst.commands
        self.alarms[line] = alarm.model_copy(update={"line_id": line, "alarm_id": uuid.uuid4()})
        self.commands[line] = command.model_copy(update={"line_id": line, "command_id": uuid.uuid4()})
        tell(self.desk.memory, self.alarms[line])
        tell(self.desk.memory, self.commands[line])

    def acknowledge(self, line: str, reason: str = "seen") -> None:
        known = self.alarms[line]
        changes = {"revision": known.revision + 1, "state": AlarmState.ACK_LATCHED, "act": Act.ACKNOWLEDGE}
        self.alarms[line] = known.model_copy(update=changes | {"actor": "ada", "reason": reason})
        tell(self.desk.memory, self.alarms[line])

    def restart(self) -> None:
        """As far as a browser sees it once its stream has ended."""
        self.app.state.drawings = common.drawings(self.desk)

    def _count(self, drawings: Drawings) -> None:
        draw = drawings._draw

        def counted(template: str, **context: Any) -> str:
            if template == "_line.html":
                self.drawn.append(context["line"].line_id)
            return draw(template, **context)

        drawings._draw = counted


class Heard:
    """A browser's stream, read as the bytes that came."""

    def __init__(self, port: int, cookie: str, where: str, **headers: str) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=90)
        self._connection.request("GET", where, headers={"cookie": f"{COOKIE}={cookie}", **headers})
        self._stream: HTTPResponse = self._connection.getresponse()
        assert self._stream.status == 200

    def close(self) -> None:
        with suppress(OSError):
            self._stream.close()
        self._connection.close()

    def until_quiet(self) -> dict[str, list[bytes]]:
        """Event → each of its messages, up to a beat of a moment after this one: all that came before has then been
        told. Beats from before may wait to be read."""
        found: dict[str, list[bytes]] = {"lines": [], "alarms": [], "tiles": [], "beat": []}
        asked_ms = to_ms(now())
        while not found["beat"] or content(found["beat"][-1])["now_ms"] <= asked_ms:
            message = b"".join(iter(self._stream.readline, b"\n"))
            if name := re.search(rb"^event: (\w+)$", message, re.MULTILINE):
                found[name[1].decode()].append(message)
        return found


def content(message: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(message.split(b"\ndata: ")[1])
    return found


@pytest.fixture
def factory(tmp_path: Path) -> Factory:
    return Factory(tmp_path)


@pytest.fixture
def port(factory: Factory) -> Iterator[int]:
    config = uvicorn.Config(factory.app, port=0, log_level="error", ws="none", timeout_graceful_shutdown=1)
    with served(config) as port:
        yield port


Listen = Callable[..., Heard]


@pytest.fixture
def listen(factory: Factory, port: int) -> Iterator[Listen]:
    opened: list[Heard] = []

    def begin(where: str = "/events?tiles=true", **headers: str) -> Heard:
        opened.append(Heard(port, factory.cookie, where, **headers))
        return opened[-1]

    yield begin
    for heard in opened:
        heard.close()


@pytest.mark.unit
def test_a_change_of_one_line_is_drawn_once_and_sends_that_line_to_each_browser(
    factory: Factory, listen: Listen
) -> None:
    """All 500 were drawn again, in the event loop, and all of it, 0.9 MB, was sent to each browser."""
    browsers = [listen() for _ in range(3)]
    for browser in browsers:
        (all_of_them,) = browser.until_quiet()["lines"]
        assert len(content(all_of_them)["lines"]) == LINES
    factory.drawn.clear()
    factory.acknowledge("line-7")
    for browser in browsers:
        heard = browser.until_quiet()
        (message,) = heard["lines"]
        (sent,) = content(message)["lines"]
        assert (sent["line"], content(message)["gone"]) == ("line-7", [])
        assert heard["tiles"] == []
        assert len(b"".join([*heard["lines"], *heard["alarms"]])) < 1.5 * len(sent["html"].encode())
    assert factory.drawn == ["line-7"]


@pytest.mark.unit
def test_a_look_takes_each_camera_up_once_and_not_once_for_each_line(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, asked = tiles.tile, []

    class Counted:
        def __init__(self, tile: Tile) -> None:
            self._tile = tile

        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            return getattr(self._tile, name)

    monkeypatch.setattr(tiles, "tile", lambda *known, **named: Counted(made(*known, **named)))
    snapshot = factory.desk.live.snapshot()
    assert all(len(snapshot.of_line(f"line-{number}")) == 1 for number in range(LINES))
    assert asked.count("line_id") < 3 * LINES


@pytest.mark.unit
def test_what_is_told_of_a_tile_is_written_once_for_all_browsers(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each browser had all of it written anew at each look."""
    written: list[str] = []
    dumps = json.dumps

    def counted(content: Any, **named: Any) -> str:
        text = dumps(content, **named)
        written.append(text)
        return text

    monkeypatch.setattr(json, "dumps", counted)
    first, second = (Browser(factory.app.state.drawings, "", wall=True).look(beat=True) for _ in range(2))
    assert (first.count('"camera_id"'), second.count('"camera_id"')) == (LINES, LINES)
    assert sum(text.count('"camera_id"') for text in written) == LINES


@pytest.mark.unit
def test_a_page_that_has_just_been_drawn_is_told_nothing_twice(factory: Factory, listen: Listen) -> None:
    page = factory.app.state.drawings.now()
    factory.acknowledge("line-7")
    (message,) = listen(f"/events?tiles=true&drawn={page.id}").until_quiet()["lines"]
    assert [line["line"] for line in content(message)["lines"]] == ["line-7"]


@pytest.mark.unit
def test_a_browser_that_comes_back_hears_what_it_has_missed(factory: Factory, listen: Listen) -> None:
    """By the id of what it heard last: its page's own drawing is older."""
    old = factory.app.state.drawings.now().id
    browser = listen(f"/events?drawn={old}")
    factory.acknowledge("line-7")
    (message,) = browser.until_quiet()["lines"]
    browser.close()
    (heard_last,) = re.findall(r"^id: (.+)$", message.decode(), re.MULTILINE)
    for line in ("line-8", "line-9"):
        factory.acknowledge(line)
        wait_until(partial(acknowledged, factory, line))
    back = listen(f"/events?drawn={old}", **{"last-event-id": heard_last})
    (message,) = back.until_quiet()["lines"]
    assert {line["line"] for line in content(message)["lines"]} == {"line-8", "line-9"}
    assert not content(message)["whole"]


def acknowledged(factory: Factory, line: str) -> bool:
    return any(one.name == line and "acknowledge by" in one.html for one in factory.app.state.drawings.now().lines)


@pytest.mark.unit
@pytest.mark.parametrize("had", ["", "of another process.3", "{run}.99999", "{run}.-1", "{run}.x"])
def test_who_has_a_drawing_that_this_process_did_not_make_is_sent_all(
    factory: Factory, listen: Listen, had: str
) -> None:
    run = factory.app.state.drawings.now().run
    browser = listen("/events?tiles=true", **{"last-event-id": had.format(run=run)})
    (message,) = browser.until_quiet()["lines"]
    assert content(message)["whole"]
    assert len(content(message)["lines"]) == LINES


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Browser]:
    """Who has looked, at each look."""
    found: list[Browser] = []

    class Seen(Browser):
        def look(self, *, beat: bool) -> str:
            found.append(self)
            return super().look(beat=beat)

    monkeypatch.setattr(events, "Browser", Seen)
    return found


@pytest.mark.unit
def test_what_a_slow_browser_is_told_was_looked_at_once_it_can_take_it(factory: Factory, looks: list[Browser]) -> None:
    """Behind a weak radio it was told of a stop 20 s late, and as of this moment: so much older news lay in buffers."""
    over = threading.Event()

    def shoot() -> None:
        sequence = 1
        while not over.wait(0.2):
            for number in range(LINES):
                tell(factory.desk.memory, score(sequence, camera=f"cam-{number}", line_id=f"line-{number}"))
            sequence += 1

    config = uvicorn.Config(
        factory.app, port=0, http=Patience, log_level="error", ws="none", timeout_graceful_shutdown=1
    )
    camera = threading.Thread(target=shoot)
    camera.start()
    try:
        with served(config) as port, socket.socket() as weak:
            weak.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)  # takes little, and then nothing
            weak.connect(("127.0.0.1", port))
            asked = f"GET /events?tiles=true HTTP/1.1\r\nHost: a\r\nCookie: {COOKIE}={factory.cookie}\r\n\r\n"
            weak.sendall(asked.encode())
            wait_until(lambda: bool(looks))
            slow = looks[0]
            quick = Heard(port, factory.cookie, "/events?tiles=true")
            while sum(browser is not slow for browser in looks) < 12:
                quick.until_quiet()
            quick.close()
            assert looks.count(slow) <= 2
    finally:
        over.set()
        camera.join()


@pytest.mark.unit
def test_beside_another_view_no_calm_line_is_drawn_and_one_that_is_calm_again_goes(
    factory: Factory, listen: Listen
) -> None:
    drawings = factory.app.state.drawings
    assert drawings.now().html(wall=False).count("<article") == STOPPED
    browser = listen("/events")
    (message,) = browser.until_quiet()["lines"]
    assert len(content(message)["lines"]) == STOPPED
    known = factory.alarms["line-7"]
    over = {"revision": known.revision + 1, "state": AlarmState.NORMAL, "act": Act.RESET}
    release = {"action": "UNHOLD_PERMITTED", "command_id": uuid.uuid4(), "issued_at": now()}
    command = factory.commands["line-7"]
    tell(factory.desk.memory, command.model_validate(command.model_dump() | release))
    tell(factory.desk.memory, known.model_copy(update=over))
    messages = [content(one) for one in browser.until_quiet()["lines"]]
    assert [name for one in messages for name in one["gone"]] == ["line-7"]


def wall(chromium: Any, factory: Factory, port: int, **options: Any) -> Any:
    context = chromium.new_context(base_url=f"http://127.0.0.1:{port}", **options)
    context.set_default_timeout(60_000)
    context.add_cookies([{"name": COOKIE, "value": factory.cookie, "url": f"http://127.0.0.1:{port}"}])
    page = context.new_page()
    page.goto("/")
    page.locator("#said p").wait_for(state="attached")
    return page


@pytest.fixture
def page(chromium: Any, factory: Factory, port: int) -> Iterator[Any]:
    opened = wall(chromium, factory, port)
    yield opened
    opened.context.close()


DRAWN = "() => [...document.querySelectorAll('#lines-head, #lines .line')].map(shown => shown.outerHTML)"


def line(page: Any, name: str) -> Any:
    return page.locator(f'.line[data-line="{name}"]')


@pytest.mark.browser
def test_a_page_that_was_changed_line_by_line_is_the_same_as_one_drawn_anew(
    chromium: Any, factory: Factory, port: int, page: Any
) -> None:
    factory.acknowledge("line-3")
    factory.stop("line-400")  # from the calm ones up to the stopped ones
    factory.stop("line-499")
    factory.stop("line-new")
    line(page, "line-400").filter(has_text="HOLD").wait_for()
    factory.acknowledge("line-400")
    line(page, "line-400").filter(has_text="latched, acknowledged").wait_for()
    line(page, "line-new").wait_for()
    anew = wall(chromium, factory, port)
    assert page.evaluate(DRAWN) == anew.evaluate(DRAWN)
    anew.context.close()


@pytest.mark.browser
def test_a_camera_that_was_given_to_another_line_stands_with_that_one(factory: Factory, page: Any) -> None:
    """On a wall that stays open it stood with its old line for ever."""
    tell(factory.desk.memory, score(1, camera="cam-7", line_id="line-499"))
    page.locator('.group[data-line="line-499"] .tile[data-camera="cam-7"]').wait_for(state="attached")
    assert page.locator('.tile[data-camera="cam-7"]').count() == 1
    assert page.locator('.group[data-line="line-7"]').count() == 0


@pytest.fixture
def had(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What each stream's browser said that it had. A stream ends after two seconds."""
    found: list[str] = []

    class Seen(Browser):
        def __init__(self, drawings: Drawings, drawn: str, wall: bool) -> None:
            found.append(drawn)
            super().__init__(drawings, drawn, wall)

    monkeypatch.setattr(events, "Browser", Seen)
    monkeypatch.setattr(events, "LIFE_S", 2.0)
    return found


@pytest.mark.browser
@pytest.mark.parametrize("restarted", [False, True])
def test_a_page_whose_stream_was_away_shows_what_it_has_missed(
    chromium: Any, factory: Factory, port: int, had: list[str], restarted: bool
) -> None:
    page = wall(chromium, factory, port)
    first = factory.app.state.drawings.now()
    factory.stop("line-400")
    line(page, "line-400").filter(has_text="HOLD").wait_for()
    second = factory.app.state.drawings.now()
    if restarted:
        factory.restart()
    wait_until(lambda: second.id in had)
    factory.acknowledge("line-3")
    line(page, "line-3").filter(has_text="latched, acknowledged").wait_for()
    assert had[0] == first.id
    anew = wall(chromium, factory, port)
    assert page.evaluate(DRAWN) == anew.evaluate(DRAWN)
    for opened in (page, anew):
        opened.context.close()


@pytest.mark.browser
def test_who_stands_in_a_line_or_in_an_act_of_it_is_not_moved_by_another_line(factory: Factory, page: Any) -> None:
    button = line(page, "line-5").get_by_role("button", name="Acknowledge")
    button.evaluate("button => { button.mark = 'the same'; button.focus(); }")
    factory.stop("line-400")
    line(page, "line-400").filter(has_text="HOLD").wait_for()
    assert page.evaluate("document.activeElement.mark") == "the same"
    button.press("Enter")
    page.get_by_role("dialog").get_by_label("Why").fill("on my")
    factory.acknowledge("line-3")
    factory.acknowledge("line-5", "somebody else was faster")  # its own line is drawn anew meanwhile
    line(page, "line-5").filter(has_text="somebody else").wait_for()
    assert page.get_by_role("dialog").get_by_label("Why").input_value() == "on my"
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    assert page.evaluate("document.activeElement.tagName") == "BODY"  # Acknowledge is offered no more
    shelve = line(page, "line-5").get_by_role("button", name="Shelve")
    shelve.press("Enter")
    page.get_by_role("dialog").wait_for()
    factory.acknowledge("line-5", "and again")
    line(page, "line-5").filter(has_text="and again").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.activeElement.dataset.key === 'shelve-line-5'")


@pytest.mark.browser
def test_a_wall_of_stops_is_not_read_aloud_and_of_what_comes_only_the_news_is(factory: Factory, page: Any) -> None:
    """Each change of one line had all others said again."""
    (at_first,) = page.locator("#said p").all_inner_texts()
    assert at_first.count("HOLD") == 4
    assert at_first.endswith(f"And {STOPPED - 4} more lines.")
    factory.stop("line-400")
    said = page.locator("#said p").filter(has_text="line-400")
    said.wait_for(state="attached")
    assert said.inner_text().count("Line ") == 1
    assert page.locator("#said").get_attribute("aria-atomic") == "false"


@pytest.mark.browser
def test_a_page_that_renews_its_middle_is_not_sent_its_lines_again(factory: Factory, page: Any) -> None:
    """Each page on `/health` fetched them every five seconds, and each wall at each new camera."""
    with page.expect_response(page.url) as answer:
        tell(factory.desk.memory, score(0, camera="cam-new", line_id="line-499"))
        page.locator('.tile[data-camera="cam-new"]').wait_for(state="attached")
    assert 'data-line="line-499"' in answer.value.text()  # its tiles
    assert '<article class="line' not in answer.value.text()
    page.goto("/health")
    page.evaluate("document.querySelector('main h1, main h2').textContent = 'an old one'")
    with page.expect_response(page.url) as answer:
        page.wait_for_function("() => !document.querySelector('main').textContent.includes('an old one')")
    assert '<article class="line' not in answer.value.text()
    assert page.locator("#lines .line").count() == STOPPED


@pytest.mark.browser
def test_lines_that_go_on_below_fade_and_what_is_come_to_stands_clear_of_that(factory: Factory, page: Any) -> None:
    """Beside another page they ended amid a button, which looked like the end of them all."""
    page.goto("/alarms")
    page.locator("#lines .button").first.wait_for()
    ground, clear = page.evaluate(
        """() => {
            const main = document.querySelector("main");
            const button = [...document.querySelectorAll("#lines .button")].at(-1);
            button.scrollIntoView({ block: "nearest" });
            const fade = getComputedStyle(main, "::before");
            const top = main.getBoundingClientRect().top - parseFloat(fade.height);
            return [fade.backgroundImage, top - button.getBoundingClientRect().bottom];
        }"""
    )
    assert "gradient" in ground
    assert clear >= 0
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('main'), '::before').display") == "none"
