"""A machine that was asleep, its lid closed, shows nothing of yesterday as if it were of now."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from console.conftest import ConsoleProcess
from console.test_live import Way

from pipeline.events import now

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("alerting")]

SAID = """() => {
    window.said = [];
    const bar = document.getElementById("connection");
    new MutationObserver(() => said.push(bar.textContent)).observe(bar, { childList: true });
}"""


@pytest.fixture
def way(console: ConsoleProcess) -> Iterator[Way]:
    made = Way(console.port)
    yield made
    made.close()


def test_at_its_first_look_after_a_sleep_the_page_says_that_it_is_old(login: Callable[..., Any], way: Way) -> None:
    """Its own count of time had stood still: for six seconds more all looked as of now."""
    context = login().context
    other = context.browser.new_context(base_url=way.url)
    other.set_default_timeout(60_000)
    other.add_cookies(context.cookies())
    page = other.new_page()
    page.clock.install()
    with page.expect_request("**/events?**"):
        page.goto("/")
    page.clock.pause_at(now() + timedelta(seconds=30))
    page.evaluate("document.getElementById('connection').textContent = 'until the next beat'")
    page.locator("#connection:empty").wait_for(state="attached")  # its time is that at which the clock stands
    page.evaluate(SAID)
    way.fall_silent()
    page.clock.run_for(1000)
    assert page.evaluate("said") == []
    page.clock.set_system_time(now() + timedelta(hours=8))
    page.clock.run_for(1000)
    assert any("NO CONNECTION" in words for words in page.evaluate("said"))
    other.close()
