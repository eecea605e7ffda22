"""What an open page goes on showing while a finger, or the network, is in the way."""

import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from console.conftest import ConsoleProcess
from console.plant import Plant
from playwright.sync_api import TimeoutError as PlaywrightTimeout

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("alerting")]

TOUCH = "name => document.querySelector('#lines .line').dispatchEvent(new PointerEvent(name, {bubbles: true}))"


class Way:
    """TCP between browser and server. `fall_silent`: what is connected hears nothing more and no end either, as behind
    a firewall that forgot it; new connections go through."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: list[socket.socket] = []
        self._silent: set[socket.socket] = set()
        self.dams = False
        """As a proxy or a virus scanner that hands an answer on once it has all of it: a stream has no end."""
        self.own_answer = b""
        """What is said to every request, as by a proxy that hands none on."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def fall_silent(self) -> None:
        self._silent |= set(self._ends)

    def break_off(self) -> None:
        """What is connected ends."""
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for end in [self._listener, *self._ends]:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._port))
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while content := one.recv(65536):
                if self.dams and content.startswith(b"GET /events"):
                    self._silent.add(other)
                if self.own_answer and content.startswith((b"GET ", b"POST ")):
                    one.sendall(self.own_answer)
                    break
                if one not in self._silent:
                    other.sendall(content)
            if one not in self._silent:
                other.shutdown(socket.SHUT_WR)


@pytest.fixture
def line() -> str:
    return f"live-{uuid.uuid4().hex[:6]}"


@pytest.fixture
def way(console: ConsoleProcess) -> Iterator[Way]:
    made = Way(console.port)
    yield made
    made.close()


def pressed(plant: Plant, login: Callable[..., Any], line: str) -> tuple[Any, Any]:
    """The page, and the line on it, which runs and has a finger on it."""
    plant.shoot(line, f"{line}-a", ".")
    page = login(has_touch=True)
    shown = page.locator(f'.line[data-line="{line}"]')
    shown.wait_for()
    page.evaluate(TOUCH, "pointerdown")
    return page, shown


def test_a_stop_that_comes_under_a_finger_that_scrolls_away_is_shown(
    plant: Plant, login: Callable[..., Any], line: str
) -> None:
    page, shown = pressed(plant, login, line)
    plant.shoot(line, f"{line}-a", "xxx")
    page.locator("#said").filter(has_text=f"Line {line}: HOLD").wait_for(state="attached")
    page.evaluate(TOUCH, "pointercancel")
    shown.filter(has_text="HOLD").wait_for()


def test_a_finger_that_stays_hides_no_stop(plant: Plant, login: Callable[..., Any], line: str) -> None:
    _, shown = pressed(plant, login, line)
    plant.shoot(line, f"{line}-a", "xxx")
    shown.filter(has_text="HOLD").wait_for()


def test_no_later_tap_brings_back_what_stood_before(plant: Plant, login: Callable[..., Any], line: str) -> None:
    page, shown = pressed(plant, login, line)
    plant.shoot(f"{line}-other", f"{line}-b", "xxx")
    page.locator("#said").filter(has_text=f"{line}-other").wait_for(state="attached")
    page.evaluate(TOUCH, "pointercancel")
    plant.shoot(line, f"{line}-a", "xxx")
    shown.filter(has_text="HOLD").wait_for()
    page.wait_for_timeout(2000)
    page.locator("main").dispatch_event("pointerup")
    page.wait_for_timeout(500)
    assert "HOLD" in shown.inner_text()


def behind(way: Way, context: Any) -> Any:
    """The page as it comes over `way`, by a clock that the test may put forward."""
    other = context.browser.new_context(base_url=way.url)
    other.set_default_timeout(60_000)
    other.add_cookies(context.cookies())
    page = other.new_page()
    page.clock.install()
    page.goto("/")
    return page


def let_pass(page: Any, until: Any) -> None:
    """Time of the page's own, ten seconds a look, until that is shown."""
    for _ in range(60):
        page.clock.fast_forward(10_000)
        with suppress(PlaywrightTimeout):
            until.wait_for(timeout=1000)
            return
    raise AssertionError(f"not within ten minutes of the page's time: {page.locator('#connection').inner_text()!r}")


def test_a_connection_that_died_without_a_word_is_replaced(
    plant: Plant, login: Callable[..., Any], way: Way, line: str
) -> None:
    plant.shoot(line, f"{line}-a", ".")
    page = behind(way, login().context)
    shown = page.locator(f'.line[data-line="{line}"]')
    shown.wait_for()
    with page.expect_response("**/events?**"):
        page.reload()
    way.fall_silent()
    let_pass(page, page.locator("#connection").filter(has_text="NO CONNECTION"))
    plant.shoot(line, f"{line}-a", "xxx")
    let_pass(page, shown.filter(has_text="HOLD"))
    page.locator("#connection").wait_for(state="hidden")
    page.context.close()


def test_a_page_whose_stream_does_not_come_through_says_so_and_is_loaded_anew(
    plant: Plant, login: Callable[..., Any], way: Way, line: str
) -> None:
    """It said for ever that there was no connection, while everything else of it worked."""
    plant.shoot(line, f"{line}-a", ".")
    context = login().context
    way.dams = True
    page = behind(way, context)
    shown = page.locator(f'.line[data-line="{line}"]')
    shown.wait_for()
    plant.shoot(line, f"{line}-a", "xxx")
    let_pass(page, page.locator("#connection").filter(has_text="holds its stream back"))
    let_pass(page, shown.filter(has_text="HOLD"))
    page.context.close()


HIDE = """hidden => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
"""Playwright has every tab believe that it is looked at."""


def test_however_many_tabs_are_open_an_act_opens_and_the_tab_that_is_looked_at_knows_all(
    plant: Plant, login: Callable[..., Any], line: str
) -> None:
    """With six open the seventh never loaded, and no button in any of them did a thing."""
    plant.shoot(line, f"{line}-a", ".")
    first = login()
    shown = first.locator(f'.line[data-line="{line}"]')
    shown.wait_for()
    behind = first
    for _ in range(7):
        behind.evaluate(HIDE, True)
        behind = first.context.new_page()
        behind.goto("/alarms")
    behind.evaluate(HIDE, True)
    plant.shoot(line, f"{line}-a", "xxx")
    first.wait_for_timeout(8000)  # for longer than a page waits before it calls itself old
    first.evaluate(HIDE, False)
    shown.get_by_role("button", name="Acknowledge").click()
    first.get_by_role("dialog").wait_for()
    first.locator("#connection").wait_for(state="hidden")


def test_a_list_of_alarms_that_did_not_come_is_asked_for_again(
    plant: Plant, login: Callable[..., Any], line: str
) -> None:
    page = login()
    page.goto("/alarms")
    fails = iter([True, True])

    def answer(route: Any) -> None:
        if next(fails, False):
            route.abort()
        else:
            route.continue_()

    page.route("**/alarms?rows=true", answer)
    page.wait_for_timeout(1000)
    plant.shoot(line, f"{line}-a", "xxx")
    page.locator("#rows").filter(has_text=line).wait_for()
