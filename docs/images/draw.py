"""Draws the pictures of docs/images anew: `python docs/images/draw.py`. Runs a demo, looks at its page in Chromium.

Needs the test extra (Playwright) and Debian's chromium; takes some minutes.
"""

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Error, sync_playwright

HERE = Path(__file__).parent
LOG = Path(tempfile.gettempdir()) / "andon-draw-images.log"
LIMIT_S = 600
SIZE = {"width": 1280, "height": 900}
EVERYTHING_STANDS = "everything stays up"


def main() -> None:
    with LOG.open("w") as log:
        command = [sys.executable, "-m", "workers", "demo", "--stay", "--frames", "400"]
        demo = subprocess.Popen(command, stdout=log, stderr=log)
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        try:
            found = _await(r"page: (http://\S+)\s+log in as demo with\s+(\S+)", demo)
            _draw(browser, found[1], found[2], demo)
        finally:
            demo.send_signal(signal.SIGINT)  # ends what stays up; the report is drawn then
            demo.wait(120)
        page = browser.new_page(viewport=SIZE)
        page.goto(Path("report/index.html").resolve().as_uri())
        page.wait_for_timeout(1500)
        page.screenshot(path=HERE / "report.png")
        browser.close()


def _await(pattern: str, demo: "subprocess.Popen[bytes]") -> re.Match[str]:
    deadline_s = time.monotonic() + LIMIT_S
    while not (found := re.search(pattern, LOG.read_text())):
        if demo.poll() is not None or time.monotonic() > deadline_s:
            raise SystemExit(f"the demo never said {pattern!r}; see {LOG}")
        time.sleep(1)
    return found


def _draw(browser: Any, url: str, password: str, demo: "subprocess.Popen[bytes]") -> None:
    context = browser.new_context(base_url=url, viewport=SIZE)
    context.set_default_timeout(LIMIT_S * 1000)
    page = context.new_page()
    _open(page, "/login")
    page.get_by_label("Name").fill("demo")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    stopped = page.locator(".line.stopped").first
    stopped.wait_for()
    page.wait_for_timeout(6000)  # so that the wall is full
    page.screenshot(path=HERE / "console-wall.png")
    line = stopped.get_attribute("data-line")
    part = stopped.locator(".evidence a").last.get_attribute("href")
    alarm = stopped.locator(".standing a").first.get_attribute("href")
    _acknowledge(page, stopped)
    _draw_at_night(browser, context, url)
    _await(EVERYTHING_STANDS, demo)
    for name, path in (("alarms", "/alarms?show=all"), ("alarm", alarm), ("part", part)):
        page.goto(path)
        page.wait_for_timeout(2500)
        page.screenshot(path=HERE / f"console-{name}.png", full_page=name != "alarms")
    page.goto(f"/model?line={line}&hours=1")
    page.get_by_label("Threshold to try").focus()
    for key in ["ArrowLeft"] * 60 + ["PageDown"] * 2:
        page.keyboard.press(key)
    page.wait_for_timeout(2500)
    page.screenshot(path=HERE / "console-model.png", full_page=True)
    page.goto("/health")
    page.get_by_role("button", name="Draw the account").click()
    page.wait_for_timeout(12_000)
    page.goto("/health")
    page.wait_for_timeout(1500)
    page.screenshot(path=HERE / "console-health.png", full_page=True)


def _open(page: Any, path: str) -> None:
    """The address is told while the page still starts."""
    deadline_s = time.monotonic() + 60
    while True:
        try:
            page.goto(path)
            return
        except Error:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(1)


def _acknowledge(page: Any, stopped: Any) -> None:
    stopped.locator(".acts a").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Why").fill("on my way")
    page.wait_for_timeout(500)
    page.screenshot(path=HERE / "console-acknowledge.png")
    dialog.get_by_role("button", name="Acknowledge", exact=True).click()
    page.locator("#outcome.done").wait_for()


def _draw_at_night(browser: Any, context: Any, url: str) -> None:
    night = browser.new_context(base_url=url, viewport=SIZE, color_scheme="dark")
    night.add_cookies(context.cookies())
    page = night.new_page()
    page.goto("/")
    page.wait_for_timeout(5000)
    page.screenshot(path=HERE / "console-wall-dark.png")
    night.close()


if __name__ == "__main__":
    main()
