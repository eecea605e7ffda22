"""Beside the facts of a frame its tile shows no picture of another."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from console.plant import BOOT, MODEL, Plant, score

from pipeline.maps import map_key

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("alerting")]


@pytest.fixture
def camera() -> str:
    return f"tile-{uuid.uuid4().hex[:6]}"


@pytest.fixture
def tile(plant: Plant, login: Callable[..., Any], camera: str) -> Any:
    """Of a part with a crack, as everybody sees."""
    plant.shoot(camera, camera, "x")
    found = login().locator(f'.tile[data-camera="{camera}"]')
    found.scroll_into_view_if_needed()
    found.locator("img.heat").wait_for(state="attached")
    return found


def test_a_frame_whose_pictures_redis_does_not_have_is_not_shown_by_the_one_before(
    plant: Plant, tile: Any, camera: str
) -> None:
    key = map_key(f"{camera}:{BOOT}:1", MODEL.hash)
    plant.tell([score(1, camera=camera, line_id=camera, map_key=key)])
    tile.and_(tile.page.locator(".ok.nothing")).wait_for()
    assert tile.locator("img").count() == 0
    plant.shoot(camera, camera, "..")
    tile.and_(tile.page.locator(".ok:not(.nothing)")).locator("img.heat").wait_for(state="attached")


def test_a_camera_that_hangs_says_so_also_where_its_picture_is_not_kept(plant: Plant, tile: Any, camera: str) -> None:
    plant.strange_cameras(camera)
    hung = tile.page.locator(f'.tile.frozen.nothing[data-camera="{camera}-hung"] .picture')
    hung.wait_for()
    assert "FROZEN" in hung.evaluate("link => getComputedStyle(link, '::after').content")


def test_a_picture_that_can_not_be_read_is_not_called_not_kept_and_is_asked_for_again(
    plant: Plant, tile: Any, camera: str
) -> None:
    """As while Redis is away: a line that stands shows no other frame, so its tiles said for good that it is lost."""
    pictures = f"**/pictures/{camera}:{BOOT}:1/**"
    tile.page.route(pictures, lambda route: route.fulfill(status=503, body="Redis did not answer"))
    plant.shoot(camera, camera, ".")
    tile.and_(tile.page.locator(".unread:not(.nothing)")).wait_for()
    assert tile.locator("img").count() == 0
    tile.page.unroute(pictures)
    tile.locator(f'img.heat[src*=":{BOOT}:1/"]').wait_for(state="attached", timeout=120_000)
    tile.and_(tile.page.locator(":not(.unread)")).wait_for()  # and not `.ok`: by now it may be old


def test_while_no_picture_can_be_read_one_tile_asks_why(plant: Plant, tile: Any, camera: str) -> None:
    """Each asked for its picture a second time, which doubled what waited for Redis."""
    held: list[Any] = []
    page = tile.page
    page.route(f"**/pictures/{camera}*/**/thumbnail", lambda route: held.append(route))
    page.route(f"**/pictures/{camera}*/**/heat", lambda route: route.fulfill(status=503))
    cameras = (camera, f"{camera}-b")
    for each in cameras:
        plant.shoot(camera, each, ".")
    wait_in(page, lambda: len(held) == 2)
    for route in held[:2]:
        route.fulfill(status=503)
    wait_in(page, lambda: len(held) == 3)
    held[2].fulfill(status=503)
    for each in cameras:
        page.locator(f'.tile.unread[data-camera="{each}"]').wait_for()
    assert [route.request.resource_type for route in held].count("fetch") == 1


def wait_in(page: Any, done: Callable[[], bool]) -> None:
    for _ in range(1200):
        if done():
            return
        page.wait_for_timeout(50)
    pytest.fail("it never came to that")


def test_a_picture_that_never_comes_keeps_no_later_one_away(plant: Plant, tile: Any, camera: str) -> None:
    """As where a connection died without a word: the crack stood for good above all that was told of later parts."""
    silent: list[Any] = []
    tile.page.route(f"**/pictures/{camera}:{BOOT}:1/**", lambda route: silent.append(route))
    plant.shoot(camera, camera, ".")
    tile.and_(tile.page.locator(".ok")).wait_for()
    plant.shoot(camera, camera, ".")
    tile.locator(f'img.heat[src*=":{BOOT}:2/"]').wait_for(state="attached")


def test_a_picture_that_is_late_is_asked_for_again(plant: Plant, tile: Any, camera: str) -> None:
    """It was called not kept, for as long as no other frame came: of a line that stands, none does."""
    silent: list[Any] = []
    pictures = f"**/pictures/{camera}:{BOOT}:1/**"
    tile.page.route(pictures, lambda route: silent.append(route))
    plant.shoot(camera, camera, ".")
    tile.and_(tile.page.locator(".late:not(.nothing)")).wait_for()
    tile.page.unroute(pictures)
    tile.locator(f'img.heat[src*=":{BOOT}:1/"]').wait_for(state="attached", timeout=90_000)
    tile.and_(tile.page.locator(":not(.late)")).wait_for()
