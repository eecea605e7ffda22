"""What renews itself goes on doing so under who stands in it, and takes neither their place nor their focus."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from console.plant import Plant
from console.test_acts import act

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("alerting")]


@pytest.fixture
def line() -> str:
    return f"renew-{uuid.uuid4().hex[:6]}"


def test_health_is_of_now_for_who_scrolls_in_a_table_and_for_who_marks_its_words(
    plant: Plant, login: Callable[..., Any], line: str
) -> None:
    """A tap on a table, or a marked word, and its figures were old from then on and did not say so."""
    plant.shoot(line, f"{line}-a", ".")
    plant.beat(line, f"{line}-a", captured=7001)
    page = login("operator-1", viewport={"width": 390, "height": 844})
    page.locator(f'.tile[data-camera="{line}-a"]').wait_for(state="attached")
    page.goto("/health")
    table = page.get_by_role("region", name="Frames of each camera")
    captured = table.locator("tr", has_text=line).locator("td").nth(1)
    captured.filter(has_text="7001").wait_for()
    table.focus()
    table.evaluate("table => { table.scrollLeft = 60; }")
    table.locator("tr", has_text=line).locator("th").select_text()
    plant.beat(line, f"{line}-a", captured=7002)
    captured.filter(has_text="7002").wait_for()
    assert page.evaluate("document.activeElement.ariaLabel") == "Frames of each camera"
    assert table.evaluate("table => table.scrollLeft") == 60
    assert page.evaluate("getSelection().toString().trim()") == f"{line}-a"


def test_an_opened_alarm_is_of_now_for_who_came_back_from_its_form(
    plant: Plant, login: Callable[..., Any], line: str
) -> None:
    plant.shoot(line, f"{line}-a", "xxx")
    first, second = login("operator-1"), login("operator-2")
    first.locator(f'.line[data-line="{line}"] .standing a').click()
    first.wait_for_url("**/alarms/*")  # loaded: a button that is pressed before its script leads to another page
    main = first.locator("main")
    main.get_by_role("button", name="Acknowledge").click()
    first.get_by_role("dialog").wait_for()
    first.keyboard.press("Escape")
    first.wait_for_function("() => document.activeElement.dataset.key?.startsWith('acknowledge-')")
    act(second, second.locator(f'.line[data-line="{line}"]'), "Acknowledge", "mine")
    main.locator("p > .chip").get_by_text("acknowledged", exact=True).wait_for()


def test_whose_row_went_from_the_list_stays_in_it(plant: Plant, login: Callable[..., Any], line: str) -> None:
    """The keyboard was sent back to the top of the page."""
    plant.shoot(line, f"{line}-a", "xxx")
    first, second = login("operator-1"), login("operator-2")
    banner = second.locator(f'.line[data-line="{line}"]')
    act(second, banner, "Acknowledge", "mine")
    first.goto(f"/alarms?line={line}")
    row = first.locator("a.row")
    row.focus()
    act(second, banner, "Reset", "cleaned")
    row.wait_for(state="detached")
    assert first.evaluate("document.activeElement.ariaLabel") == "List of alarms"
    plant.shoot(line, f"{line}-a", "xxx")
    row.wait_for()
    assert first.evaluate("document.activeElement.ariaLabel") == "List of alarms"
