"""What a proxy says itself, before the page's server, is not taken for the silence of that server."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from console.conftest import ConsoleProcess
from console.plant import Plant
from console.test_live import Way

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("alerting")]

LOGIN = "The login of the plant"


def said(status: str, *headers: str, body: str = LOGIN) -> bytes:
    head = [f"HTTP/1.1 {status}", "Content-Type: text/html", f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join([*head, *headers, "", body]).encode()


@pytest.fixture
def line() -> str:
    return f"proxy-{uuid.uuid4().hex[:6]}"


@pytest.fixture
def way(console: ConsoleProcess) -> Iterator[Way]:
    with closing(Way(console.port)) as made:
        yield made


@pytest.fixture
def issuer(console: ConsoleProcess) -> Iterator[str]:
    """Of another origin, where every page is that login."""
    with closing(Way(console.port)) as made:
        made.own_answer = said("200 OK")
        yield made.url


@pytest.fixture
def stopped(plant: Plant, login: Callable[..., Any], way: Way, line: str) -> Iterator[Any]:
    """The banner of a line that stands, as it comes over `way`."""
    plant.shoot(line, f"{line}-a", "xxx")
    context = login().context
    other = context.browser.new_context(base_url=way.url)
    other.set_default_timeout(60_000)
    other.add_cookies(context.cookies())
    page = other.new_page()
    page.goto("/")
    banner = page.locator(f'.line[data-line="{line}"]')
    banner.filter(has_text="HOLD").wait_for()
    yield banner
    other.close()


@pytest.fixture(params=["403", "redirect"])
def ended(request: Any, issuer: str) -> bytes:
    """What an oauth2-proxy says once the session has ended: with its own page, or with the issuer's."""
    return said("403 Forbidden") if request.param == "403" else said("302 Found", f"Location: {issuer}/")


def test_an_act_after_the_end_of_a_session_leads_to_the_login_and_keeps_what_was_typed(
    stopped: Any, way: Way, ended: bytes
) -> None:
    """The words were gone after the login."""
    page = stopped.page
    stopped.get_by_role("button", name="Shelve").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Why").fill("nozzle two is clogged")
    form.get_by_label("For").select_option("4 hours")
    way.own_answer = ended
    form.get_by_role("button", name="Shelve", exact=True).click()
    page.get_by_text(LOGIN).wait_for()
    way.own_answer = b""
    page.goto(way.url)  # as the login leads back
    form.wait_for()
    page.wait_for_function("() => document.querySelector('dialog [name=reason]').value === 'nozzle two is clogged'")
    assert form.get_by_label("For").input_value() == "240"
    form.get_by_role("button", name="Shelve", exact=True).click()
    page.locator("#outcome").filter(has_text="done").wait_for()
    page.goto(way.url)
    page.locator("#lines-head").wait_for(state="attached")
    assert not page.evaluate("sessionStorage.length")


def test_a_page_that_nobody_touches_leads_to_the_login(stopped: Any, way: Way, ended: bytes) -> None:
    """It said "no connection" for ever."""
    way.own_answer = ended
    way.break_off()
    stopped.page.get_by_text(LOGIN).wait_for()


def test_a_page_that_is_written_in_says_that_nobody_is_logged_in(stopped: Any, way: Way, ended: bytes) -> None:
    stopped.get_by_role("button", name="Acknowledge").click()
    form = stopped.page.get_by_role("dialog")
    form.get_by_label("Why").fill("nozzle two is clogged")
    way.own_answer = ended
    way.break_off()
    stopped.page.locator("#connection").filter(has_text="NOBODY IS LOGGED IN").wait_for()
    assert form.get_by_label("Why").input_value() == "nozzle two is clogged"
    form.get_by_text("Cancel").click()
    stopped.page.get_by_text(LOGIN).wait_for()


def test_a_press_after_the_end_of_a_session_leads_to_the_login(stopped: Any, way: Way, ended: bytes) -> None:
    way.own_answer = ended
    stopped.get_by_role("button", name="Acknowledge").click()
    stopped.page.get_by_text(LOGIN).wait_for()


AWAY = pytest.mark.parametrize("status", ["502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"])


@AWAY
def test_a_press_that_a_proxy_can_not_hand_on_leaves_the_stops(stopped: Any, way: Way, status: str) -> None:
    way.own_answer = said(status, body="no upstream")
    stopped.get_by_role("button", name="Acknowledge").click()
    stopped.page.get_by_role("alert").filter(has_text="NOT asked for").wait_for()
    assert "HOLD" in stopped.inner_text()


@AWAY
def test_an_act_that_a_proxy_can_not_hand_on_leaves_what_was_typed(stopped: Any, way: Way, status: str) -> None:
    stopped.get_by_role("button", name="Acknowledge").click()
    form = stopped.page.get_by_role("dialog")
    form.get_by_label("Why").fill("nozzle two is clogged")
    way.own_answer = said(status, body="no upstream")
    form.get_by_role("button", name="Acknowledge", exact=True).click()
    form.get_by_role("alert").filter(has_text="NOT asked for").wait_for()
    assert form.get_by_label("Why").input_value() == "nozzle two is clogged"


DAMAGED = "users.json can't be read: mend it"


@contextmanager
def damaged(users: Path) -> Iterator[None]:
    whole = users.read_bytes()
    try:
        users.write_bytes(b"{")
        yield
    finally:
        users.write_bytes(whole)


def test_an_act_while_the_users_file_is_damaged_leaves_the_stops_and_what_was_typed(
    console: ConsoleProcess, stopped: Any
) -> None:
    stopped.get_by_role("button", name="Acknowledge").click()
    form = stopped.page.get_by_role("dialog")
    form.get_by_label("Why").fill("nozzle two is clogged")
    with damaged(console.folder / "users.json"):
        form.get_by_role("button", name="Acknowledge", exact=True).click()
        form.get_by_role("alert").filter(has_text=DAMAGED).wait_for()
    assert form.get_by_label("Why").input_value() == "nozzle two is clogged"


def test_while_the_users_file_is_damaged_the_page_says_so_and_keeps_its_stops(
    console: ConsoleProcess, stopped: Any, way: Way
) -> None:
    """The bar said NO CONNECTION, so that people looked at the network, and a press left the stops for plain words."""
    page = stopped.page
    with damaged(console.folder / "users.json"):
        stopped.get_by_role("button", name="Acknowledge").click()
        page.get_by_role("alert").filter(has_text=DAMAGED).wait_for()
        way.break_off()
        page.locator("#connection").filter(has_text=DAMAGED).wait_for()
        assert "HOLD" in stopped.inner_text()
    page.locator("#connection").wait_for(state="hidden")


def test_a_proxy_that_keeps_healthz_to_itself_keeps_no_act_away(stopped: Any) -> None:
    """It looked like one that wants a login: the page was loaded anew, again and again."""
    page = stopped.page
    page.route("**/healthz", lambda route: route.fulfill(status=403, body="not from outside"))
    stopped.get_by_role("button", name="Acknowledge").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Why").fill("nozzle two is clogged")
    form.get_by_role("button", name="Acknowledge", exact=True).click()
    page.locator("#outcome").filter(has_text="done").wait_for()


def test_what_was_typed_is_not_shown_to_another_who_logs_in(stopped: Any, way: Way, login: Callable[..., Any]) -> None:
    """They could send it in their own name."""
    page = stopped.page
    stopped.get_by_role("button", name="Shelve").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Why").fill("nozzle two is clogged")
    way.own_answer = said("403 Forbidden")
    form.get_by_role("button", name="Shelve", exact=True).click()
    page.get_by_text(LOGIN).wait_for()
    way.own_answer = b""
    page.context.clear_cookies()
    page.context.add_cookies(login("operator-2").context.cookies())
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(way.url)
    page.locator("#lines-head").wait_for(state="attached")
    page.wait_for_function("() => !sessionStorage.length")
    assert not [url for url in asked if "fragment=true" in url]
