"""What axe finds in every view, and whether a phone can show it. By its name the first of the page's tests: axe looks
at every element, and the tests after it fill the plant with lines and cameras that are all alike."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from console.plant import Plant
from support.stream import frame, incoming

from pipeline.events import DeadReason
from pipeline.kafka.dead_letters import dead_letter

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("alerting")]


@pytest.fixture(scope="module")
def line(plant: Plant) -> str:
    """One line with everything that may be seen: a stop, each state of a camera, a dropped and a dead frame."""
    line = f"axe-{uuid.uuid4().hex[:6]}"
    plant.shoot(line, f"{line}-a", "..xxx")
    plant.shoot(line, f"{line}-b", "?")
    plant.strange_cameras(line)
    plant.beat(line, f"{line}-a", captured=7, dropped={"spool_full": 2})
    facts = frame(99, camera=f"{line}-a", line_id=line)
    dead = plant.settings.topics.frames_dead.name
    plant.publisher.publish([dead_letter(incoming(facts, b"no picture"), dead, DeadReason.UNDECODABLE, "broken")])
    return line


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_any_view(login: Callable[..., Any], line: str, scheme: str) -> None:
    page = login("engineer-1", color_scheme=scheme)
    page.locator(f'.line[data-line="{line}"]').filter(has_text="HOLD").wait_for()
    found: dict[str, list[str]] = {}
    alarm = page.locator(".standing a").first.get_attribute("href")
    part, shelve = page.locator(".evidence a").first.get_attribute("href"), f"/lines/{line}/acts/shelve"
    lists = ["/alarms", "/alarms?show=all", alarm]
    views = ["/", *lists, part, f"/model?line={line}", "/health", shelve, "/password", "/nowhere"]
    # The colours differ by scheme; what else axe looks at does not.
    for view in views if scheme == "light" else ["/", "/alarms?show=all", part]:
        page.goto(view)
        found[view] = serious(page, scheme)
    page.goto("/")
    page.get_by_role("button", name=f"Acknowledge line {line}").click()
    page.get_by_role("dialog").wait_for()
    found["dialog"] = serious(page, scheme)
    page.context.clear_cookies()
    page.goto("/login")
    found["/login"] = serious(page, scheme)
    assert {view: faults for view, faults in found.items() if faults} == {}


def test_no_view_is_wider_than_a_phone(login: Callable[..., Any], line: str) -> None:
    page = login("operator-1", viewport={"width": 360, "height": 740}, has_touch=True)
    part = page.locator(".evidence a").first.get_attribute("href")
    too_wide_are_none(
        page, "/", "/alarms?show=all", part, f"/model?line={line}", "/health", f"/lines/{line}/acts/shelve"
    )


def test_the_longest_names_hide_nothing(login: Callable[..., Any], plant: Plant) -> None:
    line, camera = (uuid.uuid4().hex.ljust(64, letter) for letter in "lc")
    plant.shoot(line, camera, "..xxx")
    page = login("operator-1", viewport={"width": 360, "height": 740}, has_touch=True)
    page.locator(f'.line[data-line="{line}"]').filter(has_text="HOLD").wait_for()
    too_wide_are_none(page, "/", "/alarms", f"/model?line={line}", "/health", f"/lines/{line}/acts/shelve")
    page.goto("/")
    tile = page.locator(f'.tile[data-camera="{camera}"]')
    tile.scroll_into_view_if_needed()  # what is out of sight is not painted
    age = tile.locator(".age").filter(has_text="ago")
    age.wait_for()
    box, within = age.bounding_box(), tile.bounding_box()
    assert box["x"] + box["width"] <= within["x"] + within["width"]
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto("/alarms")  # one such line had pushed the reasons of all alarms beyond the edge
    assert page.locator(".scroll:has(.alarms)").evaluate("box => box.scrollWidth - box.clientWidth") == 0


def test_on_paper_nothing_is_cut_off(login: Callable[..., Any], line: str) -> None:
    """Of an alarm's life the last columns were: why, and how it stood then."""
    page = login("operator-1", viewport={"width": 718, "height": 1000})  # A4 within the margins
    page.locator(f'.line[data-line="{line}"] .standing a').first.click()
    page.get_by_role("heading", name="The whole episode").wait_for()
    assert page.locator(".acts .button").first.is_visible()
    page.emulate_media(media="print")
    for box in page.locator(".scroll").all():
        assert box.evaluate("box => box.scrollWidth - box.clientWidth") == 0
    assert page.locator("#lines").is_hidden()
    assert page.locator(".acts .button").first.is_hidden()


def test_where_a_system_gives_all_its_own_colours_a_stop_is_the_loudest(
    login: Callable[..., Any], plant: Plant, line: str
) -> None:
    """It had the thinnest border of all lines, and what tells the columns of a trial apart was not there."""
    page = login("operator-1", forced_colors="active")
    page.locator(f'.line[data-line="{line}"]').filter(has_text="HOLD").wait_for()
    plant.shoot(f"{line}-runs", f"{line}-runs", ".")
    page.locator(f'.line[data-line="{line}-runs"]').wait_for()
    width = "found => parseFloat(getComputedStyle(document.querySelector(found)).borderTopWidth)"
    calm, stopped = (page.evaluate(width, f'.line[data-line="{name}"]') for name in (f"{line}-runs", line))
    assert stopped > 2 * max(2, calm)  # 2: what an alarm has
    page.goto(f"/model?line={line}")
    swatch = "found => getComputedStyle(document.querySelector(found)).backgroundColor"
    ground = page.evaluate(swatch, "body")
    assert len({page.evaluate(swatch, found) for found in (".swatch", ".swatch.tried")} - {ground}) == 2


def test_text_of_twice_the_size_fits_on_a_phone_and_is_that_of_the_browser(
    login: Callable[..., Any], line: str
) -> None:
    """The chip `not acknowledged` stood out of its line; and the size that a person sets for all pages was ignored."""
    page = login("operator-1", viewport={"width": 390, "height": 844}, has_touch=True)
    page.locator(f'.line[data-line="{line}"]').filter(has_text="HOLD").wait_for()
    page.add_init_script("addEventListener('DOMContentLoaded', () => document.documentElement.style.fontSize = '200%')")
    too_wide_are_none(page, "/", "/alarms")
    assert page.evaluate("getComputedStyle(document.body).fontSize") == "32px"
    rule = "[...document.styleSheets].flatMap(s => [...s.cssRules]).find(r => r.selectorText == 'html').style.fontSize"
    assert page.evaluate(rule) == "100%"


def test_a_stop_on_a_large_screen_is_read_from_some_metres_away(login: Callable[..., Any], line: str) -> None:
    """Of a television of 55 inches with a pixel for each pixel the letters were 5 mm high."""
    page = login("operator-1", viewport={"width": 3840, "height": 2160})
    stopped = f'.line[data-line="{line}"] h2'
    page.locator(stopped).filter(has_text="HOLD").wait_for()
    # Found and measured in one go: between the two the page may draw its lines anew, and what is gone has no size.
    assert page.evaluate("found => parseFloat(getComputedStyle(document.querySelector(found)).fontSize)", stopped) >= 36


@pytest.mark.parametrize("width", [390, 1024])
def test_a_button_is_as_high_as_a_finger_in_a_glove_also_on_a_tablet(
    login: Callable[..., Any], line: str, width: int
) -> None:
    page = login("operator-1", viewport={"width": width, "height": 768}, has_touch=True, is_mobile=True)
    button = f'.line[data-line="{line}"] .acts .button'
    page.locator(button).first.wait_for()
    # Found and measured in one go, as above.
    assert page.evaluate("found => document.querySelector(found).getBoundingClientRect().height", button) >= 44


@pytest.mark.parametrize("width", [360, 1280])
def test_no_number_is_broken_into_two_lines(login: Callable[..., Any], line: str, width: int) -> None:
    """A rule for long names had shrunk the columns of figures to a letter: `240.` above `0`."""
    page = login("operator-1", viewport={"width": width, "height": 900})
    page.goto("/health")
    page.locator("td.figure").first.wait_for()
    broken = page.evaluate(
        """() => [...document.querySelectorAll("td.figure")].filter(cell => {
            const range = document.createRange();
            range.selectNodeContents(cell);
            return new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1;
        }).map(cell => cell.textContent).filter(words => !words.trim().includes(" "))"""
    )
    assert broken == []


def too_wide_are_none(page: Any, *views: str) -> None:
    wide = {}
    for view in views:
        page.goto(view)
        page.locator("#lines .line").first.wait_for()
        wide[view] = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert {view: px for view, px in wide.items() if px > 0} == {}


def serious(page: Any, scheme: str) -> list[str]:
    options = {"resultTypes": ["violations"]} | ({"runOnly": ["color-contrast"]} if scheme == "dark" else {})
    return [
        f"{rule['id']}: {rule['nodes'][0]['html'][:200]} {rule['nodes'][0].get('failureSummary', '')[:200]}"
        for rule in Axe().run(page, options=options).response["violations"]
        if rule["impact"] in ("serious", "critical")
    ]
