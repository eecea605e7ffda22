"""What a person asks of a page whose server is away, as while it is restarted: neither lost nor done in silence."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from console.conftest import PASSWORD, ConsoleProcess
from console.plant import Plant
from console.test_acts import operations

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("alerting")]


@pytest.fixture
def line() -> str:
    return f"away-{uuid.uuid4().hex[:6]}"


@pytest.fixture
def stopped(plant: Plant, login: Callable[..., Any], line: str) -> Any:
    """The banner of a line that stands."""
    plant.shoot(line, f"{line}-a", "xxx")
    banner = login().locator(f'.line[data-line="{line}"]')
    banner.filter(has_text="HOLD").wait_for()
    return banner


def test_an_act_that_the_server_can_not_take_leaves_the_stops_and_what_was_typed(
    plant: Plant, console: ConsoleProcess, stopped: Any, line: str
) -> None:
    """The browser's own page of errors came in place of all stops, and stayed when the server was long back."""
    page = stopped.page
    stopped.get_by_role("button", name="Acknowledge").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Why").fill("nozzle two is clogged")
    console.stop()
    try:
        form.get_by_role("button", name="Acknowledge", exact=True).click()
        form.get_by_role("alert").filter(has_text="NOT asked for").wait_for()
    finally:
        console.start()
    form.get_by_role("button", name="Acknowledge", exact=True).click()
    page.locator("#outcome").filter(has_text="done").wait_for()
    assert [one.reason for one in operations(plant, line)] == ["nozzle two is clogged"]


def test_a_press_that_the_server_can_not_answer_says_so_and_leaves_the_stops(
    console: ConsoleProcess, stopped: Any
) -> None:
    console.stop()
    try:
        stopped.get_by_role("button", name="Acknowledge").click()
        stopped.page.get_by_role("alert").filter(has_text="NOT asked for").wait_for()
        assert "HOLD" in stopped.inner_text()
    finally:
        console.start()


def test_an_act_that_is_cancelled_before_the_server_answers_is_not_asked(plant: Plant, stopped: Any, line: str) -> None:
    page = stopped.page
    stopped.get_by_role("button", name="Acknowledge").click()
    form = page.get_by_role("dialog")
    asked: list[Any] = []
    sent: list[str] = []
    page.route("**/here", lambda route: asked.append(route))
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.evaluate("AbortSignal.timeout = () => new AbortController().signal")  # its patience is not what is meant here
    with page.expect_request("**/here"):
        form.get_by_role("button", name="Acknowledge", exact=True).click()
    page.keyboard.press("Escape")
    form.wait_for(state="hidden")
    asked[0].continue_()
    page.wait_for_function("() => !document.body.dataset.asking")
    page.wait_for_timeout(1000)
    assert sent == []
    assert page.locator("#away").count() == 0
    assert operations(plant, line) == []


def lose_the_stream(page: Any) -> None:
    """As where a proxy answers for a server that is restarted, or where the session has ended."""
    page.route("**/events?**", lambda route: route.fulfill(status=503))


def part_without_stream(plant: Plant, login: Callable[..., Any], line: str) -> Any:
    (score,) = plant.shoot(line, f"{line}-a", "x")
    page = login()
    page.locator(f'.tile[data-camera="{line}-a"]').wait_for(state="attached")
    lose_the_stream(page)
    page.goto(f"/parts/{score.frame_id}")
    return page


def test_a_page_whose_script_did_not_come_says_that_it_grows_old(login: Callable[..., Any]) -> None:
    """As where the server is restarted just then, or a proxy refuses the script: it looked like any other, for good."""
    page = login()
    page.route("**/live.js", lambda route: route.abort())
    page.reload()
    page.locator("#still").filter(has_text="does not renew itself").wait_for()
    page.unroute("**/live.js")
    page.reload()
    page.locator("#still").wait_for(state="detached")


def test_a_page_that_is_loaded_anew_sends_no_form_again(console: ConsoleProcess, login: Callable[..., Any]) -> None:
    """A wrong password was sent again each time, and counted as one more failed try."""
    page = login("operator-2")
    lose_the_stream(page)
    page.goto("/password")
    page.get_by_label("Old password").fill("a wrong one")
    for name in ("New password", "Again"):
        page.get_by_label(name).fill(PASSWORD)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method) if "/password" in request.url else None)
    page.get_by_role("button", name="Change it").click()
    page.get_by_text("The old password is wrong").wait_for()
    page.wait_for_url(console.url + "/")
    assert sent.count("POST") == 1


def test_a_page_is_not_loaded_anew_under_who_writes_in_it(plant: Plant, login: Callable[..., Any], line: str) -> None:
    page = part_without_stream(plant, login, line)
    page.get_by_label("Note").fill("a scratch of the belt, and not of the part")
    for _ in range(2):
        with page.expect_response("**/here"):
            pass
    page.wait_for_timeout(500)
    assert page.get_by_label("Note").input_value() == "a scratch of the belt, and not of the part"
    with page.expect_navigation():
        page.get_by_label("Note").fill("")


def test_a_page_that_is_written_in_hears_of_stops_once_the_server_is_back(
    plant: Plant, login: Callable[..., Any], line: str
) -> None:
    """A forgotten note kept the lines, the counts and the lost bar as they were, for good."""
    page = part_without_stream(plant, login, line)
    page.get_by_label("Note").fill("a scratch of the belt")
    page.locator("#connection").filter(has_text="NO CONNECTION").wait_for()
    page.unroute("**/events?**")
    plant.shoot(line, f"{line}-a", "xx")
    page.locator(f'.line[data-line="{line}"]').filter(has_text="HOLD").wait_for()
    page.locator("#connection").wait_for(state="hidden")
    page.locator("#unacknowledged").wait_for()
    assert page.get_by_label("Note").input_value() == "a scratch of the belt"


def test_what_became_of_an_act_is_told_however_late(plant: Plant, stopped: Any, line: str) -> None:
    """After a minute the page asked no more, and said for good that a request would yet be carried out."""
    page = stopped.page
    page.clock.install()
    page.route("**/operations/*", lambda route: route.fulfill(json={"state": "waiting"}))
    stopped.get_by_role("button", name="Acknowledge").click()
    page.get_by_role("dialog").get_by_role("button", name="Acknowledge", exact=True).click()
    outcome = page.locator("#outcome")
    outcome.wait_for()
    for _ in range(90):
        page.clock.run_for(1000)
    outcome.filter(has_text="no answer yet").wait_for()
    page.unroute("**/operations/*")
    page.clock.run_for(10_000)
    outcome.filter(has_text="done at").wait_for()
