"""Whether the operator's wall stays smooth with 200 cameras, in a real browser that watches and scrolls."""

import secrets
import shutil
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contest import Say
from benchmarks.findings import Finding, Goal, NotMeasuredError, Relation
from benchmarks.machine import rss_mb
from benchmarks.pictures import solar_cells
from benchmarks.stage import Stage, environment
from benchmarks.stops import percentile
from pipeline.events import KafkaPosition, ModelRef, Score, Verdict, now
from pipeline.frames import decode
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing
from pipeline.maps import MapEntry, MapStore, map_key, thumbnail
from pipeline.settings import Settings
from workers.console.users import Role, Users
from workers.local.ports import free_ports
from workers.local.process import ChildProcess

CAMERAS = 200
FPS = 1.0
"""Of each camera."""
_SLICES = 10
"""Scores come all through a second, not at once."""
_MODEL = ModelRef(bundle="bench", method="null", hash="0" * 16)
_START_S = 60.0
_INTERVALS = """([seconds, pxPerS]) => new Promise((done) => {
  const found = [], most = document.body.scrollHeight - innerHeight;
  let last = performance.now();
  const end = last + seconds * 1000;
  const step = (at) => {
    found.push(at - last);
    last = at;
    if (pxPerS) { const way = (at / 1000 * pxPerS) % (2 * most); scrollTo(0, way > most ? 2 * most - way : way); }
    if (at < end) requestAnimationFrame(step); else done(found);
  };
  requestAnimationFrame((at) => { last = at; requestAnimationFrame(step); });
})"""
"""How long after each other the browser draws, while the page lies still or goes to its end and back."""
_PX_PER_S = 500
_RENDERER = """() => {
  const gl = document.createElement("canvas").getContext("webgl");
  const told = gl && gl.getExtension("WEBGL_debug_renderer_info");
  return told ? gl.getParameter(told.UNMASKED_RENDERER_WEBGL) : "no GPU";
}"""
"""What draws: a headless browser has a processor for it as a rule, people's screens have a GPU."""


def wall_of_200_cameras(stage: Stage, say: Say) -> list[Finding]:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise NotMeasuredError("no chromium in PATH (apt-get install chromium)")
    seconds = stage.sized(20, 5)
    with stage.topics() as settings, _crowd(stage, settings), _page(stage, settings) as (page, url, password):
        say("logging in")
        seen = _look(browser, url, password, seconds, say)
        memory_mb = rss_mb(page.pid)
    still, scrolled = seen["still_ms"], seen["scrolled_ms"]
    how = ", ".join(
        f"{what} p50 {percentile(times, 0.5):.0f}, p95 {percentile(times, 0.95):.0f}, p99 {percentile(times, 0.99):.0f}"
        for what, times in (("watching", still), ("scrolling", scrolled))
    )
    return [
        Finding(
            name="wall_of_200_cameras, time between two pictures of the screen, p95 while scrolling",
            measured=percentile(scrolled, 0.95),
            unit="ms",
            goal=Goal(Relation.AT_MOST, 34),
            how=f"{how}; {seen['pictures_per_s']:.0f} pictures/s loaded of {2 * CAMERAS * FPS:.0f} that come, "
            f"{seen['tiles_in_sight']} tiles in sight; {seen['renderer']}; the page's server holds {memory_mb:.0f} MB",
            raw={**seen, "cameras": CAMERAS, "fps": FPS, "server_rss_mb": memory_mb},
        )
    ]


def _look(browser: str, url: str, password: str, seconds: int, say: Say) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        page.goto(url)
        page.get_by_label("Name").fill("bench")
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Log in").click()
        page.locator(f".tile >> nth={CAMERAS - 1}").wait_for(state="attached")
        page.wait_for_timeout(3000)
        renderer = f"headless Chromium {chromium.version}, {page.evaluate(_RENDERER)}"
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "/pictures/" in request.url else None)
        say(f"watching for {seconds} s")
        still = page.evaluate(_INTERVALS, [seconds, 0])
        pictures_per_s = len(asked) / seconds
        in_sight = page.locator(".tile").evaluate_all(
            "all => all.filter((one) => { const box = one.getBoundingClientRect();"
            " return box.bottom > 0 && box.top < innerHeight; }).length"
        )
        say(f"scrolling for {seconds} s")
        scrolled = page.evaluate(_INTERVALS, [seconds, _PX_PER_S])
        chromium.close()
    return {
        "still_ms": [round(ms, 1) for ms in still],
        "scrolled_ms": [round(ms, 1) for ms in scrolled],
        "pictures_per_s": round(pictures_per_s, 1),
        "tiles_in_sight": in_sight,
        "renderer": renderer,
    }


@contextmanager
def _page(stage: Stage, settings: Settings) -> Iterator[tuple[ChildProcess, str, str]]:
    data, password, (port,) = stage.folder / "console", secrets.token_urlsafe(9), free_ports(1)
    Users(data / "users.json").add("bench", Role.VIEWER, password)
    command = [sys.executable, "-m", "workers", "console", "--port", str(port), "--data", str(data)]
    child = ChildProcess("console", command, stage.folder / "console.log", Path.cwd(), environment(settings))
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + _START_S
    try:
        while not _answers(url):
            if time.monotonic() > deadline or not child.running:
                raise RuntimeError(f"the page did not start:\n{child.log_tail()}")
            time.sleep(0.2)
        yield child, url, password
    finally:
        child.stop(15)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def _crowd(stage: Stage, settings: Settings) -> Iterator[None]:
    """What replicas would write: maps and thumbnails to Redis, then scores to Kafka."""
    cells = [decode(content, "gray") for content in solar_cells(stage.folder, 40)]
    thumbnails = [thumbnail(cell) for cell in cells]
    maps = [np.asarray(cell[::8, ::8], dtype=np.float32) for cell in cells]
    stop = threading.Event()
    publisher, store = Publisher(settings, "bench-crowd"), MapStore(settings.redis_address)

    def run() -> None:
        number = 0
        while not stop.wait(1 / FPS / _SLICES):
            round_, slice_ = divmod(number, _SLICES)
            scores = [_score(camera, round_) for camera in range(slice_, CAMERAS, _SLICES)]
            entries = []
            for score in scores:
                at = (round_ + int(score.camera_id[4:])) % len(cells)
                facts = {"verdict": score.verdict.value}
                entries.append(
                    MapEntry(score.map_key or "", score.frame_id, maps[at], thumbnails[at], facts,
                             score.position)
                )  # fmt: skip
            store.put(entries)
            topic = settings.topics.scores.name
            publisher.publish(Outgoing(topic, score.line_id.encode(), score.to_json()) for score in scores)
            number += 1

    try:
        with ThreadPoolExecutor(1, "crowd") as pool:
            crowd = pool.submit(run)
            try:
                yield
            finally:
                stop.set()
        crowd.result()  # of one that died the wall showed nothing new, and stayed smooth
    finally:
        publisher.close()
        store.close()


def _score(camera: int, sequence: int) -> Score:
    """One in fifty is bad."""
    frame_id, bad = f"cam-{camera}:b1:{sequence}", (camera + 7 * sequence) % 50 == 0
    return Score(
        frame_id=frame_id,
        camera_id=f"cam-{camera}",
        line_id=f"line-{camera % 8}",
        station_id="s1",
        boot_id="b1",
        sequence=sequence,
        part_id=f"part-{sequence}",
        recipe="bench",
        captured_at=now() - timedelta(milliseconds=200),
        scored_at=now(),
        verdict=Verdict.NOT_OK if bad else Verdict.OK,
        score=0.9 if bad else 0.1 + camera / 1000,
        threshold=0.5,
        model=_MODEL,
        map_key=map_key(frame_id, _MODEL.hash),
        map_expires_at=now() + timedelta(hours=1),
        timings_ms={"transit": 3.0, "infer": 50.0},
        position=KafkaPosition(topic="frames", partition=0, offset=sequence),
    )
