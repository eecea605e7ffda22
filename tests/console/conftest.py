"""A real console process over a real Kafka, a real Valkey and a real alerting worker, and a real browser."""

import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alerting.running import environment, worker
from console.plant import Plant
from support.stream import settings_for, wait_until

from pipeline.kafka.admin import ensure_topics
from pipeline.settings import Settings
from workers.alerting.policy import Policies
from workers.console.users import Role, Users
from workers.local.ports import free_ports
from workers.local.process import ChildProcess

PASSWORD = "a long enough one"
POLICIES = {"defaults": {"k": 3, "n": 5, "action": "HOLD", "max_age_s": 300, "silent_after_s": 600, "off_delay_s": 600}}


class ConsoleProcess:
    """`andon console`, to be killed and started again on the same port."""

    def __init__(self, settings: Settings, folder: Path, *more: str) -> None:
        self.folder = folder
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {**environment(settings), "REDIS_URL": settings.redis_address}
        self._more = more
        users = Users(folder / "users.json")
        for role in Role:
            users.add(f"{role.value}-1", role, PASSWORD)
        users.add("operator-2", Role.OPERATOR, PASSWORD)
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "workers", "console", "--port", str(self.port), "--data", str(self.folder)]
        self._child = ChildProcess(
            "console", [*command, *self._more], self.folder / "log", Path.cwd(), self._environment
        )
        wait_until(lambda: self._answers() or not self._child.running)
        assert self._child.running, self._child.log_tail()

    def stop(self) -> None:
        if self._child.running:
            self._child.stop(15)

    def _answers(self) -> bool:
        import urllib.request

        try:
            with urllib.request.urlopen(self.url + "/healthz", timeout=30) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def first_run(settings: Settings, data: Path) -> str:
    """All that the first run in an empty folder prints. kafka-python may add a traceback when it is closed early."""
    command = [sys.executable, "-m", "workers", "console", "--port", str(free_ports(1)[0]), "--data", str(data)]
    child = ChildProcess(
        "console",
        command,
        data.parent / "log",
        Path.cwd(),
        {**environment(settings), "REDIS_URL": settings.redis_address},
    )
    wait_until(lambda: "the page is at" in child.log_tail() or not child.running)
    child.stop(15)
    assert child.exit_code == 0  # in good order, and not of the signal
    return child.log.read_text()


@pytest.fixture(scope="package")
def plant(kafka_bootstrap: str, redis_url: str) -> Iterator[Plant]:
    settings = settings_for(kafka_bootstrap, f"console-{uuid.uuid4().hex[:8]}.", redis_url)
    ensure_topics(settings, settings.topics)
    made = Plant(settings)
    yield made
    made.close()


@pytest.fixture(scope="package")
def alerting(plant: Plant) -> Iterator[None]:
    with worker(plant.settings, Policies.model_validate(POLICIES)):
        yield


@pytest.fixture(scope="package")
def console(plant: Plant, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleProcess]:
    folder = tmp_path_factory.mktemp("console")
    policies = folder / "policies.yaml"
    policies.write_text(str(POLICIES))  # a Python literal of these is YAML, too
    process = ConsoleProcess(
        plant.settings, folder, "--policies", str(policies), "--notice", "Simulated plant", "--stale-after-s", "45"
    )
    yield process
    process.stop()


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, headless; its shell where there is one, which takes a third less of the machine. Skipped where
    there is none; with CI=true that fails."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    binary = next(filter(None, map(shutil.which, names)), None)
    if binary is None:
        reason = "no chromium in PATH: apt-get install chromium-headless-shell"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def cookies() -> dict[str, Any]:
    """User → the cookies of their login. A login takes its time, as it should."""
    return {}


@pytest.fixture
def login(chromium: Any, console: ConsoleProcess, cookies: dict[str, Any]) -> Iterator[Callable[..., Any]]:
    """A page of its own for each call, as a browser of its own, logged in. Anything that the page asks of another
    host, or that its policy blocks, fails the test."""
    contexts, faults = [], []

    def open_page(name: str = "operator-1", **options: Any) -> Any:
        context = chromium.new_context(base_url=console.url, **options)
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: faults.append(request.url) if not request.url.startswith(console.url) else 0)
        page.on(
            "console",
            lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None,
        )
        page.on("pageerror", lambda error: faults.append(str(error)))
        if name in cookies:
            context.add_cookies(cookies[name])
            page.goto("/")
            return page
        page.goto("/")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(console.url + "/")
        cookies[name] = context.cookies()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not faults
