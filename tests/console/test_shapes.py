"""A frame that is long or tall is shown whole, with its heat where the damage is."""

import io
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from console.plant import Plant
from PIL import Image

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("alerting")]

LAID = """async box => {
    const [frame, heat] = box.querySelectorAll("img");
    await Promise.all([frame.decode(), heat.decode()]);
    return [frame, heat].map(image => {
        const { width, height, x, y } = image.getBoundingClientRect();
        const scale = Math.min(width / image.naturalWidth, height / image.naturalHeight);
        const [w, h] = [scale * image.naturalWidth, scale * image.naturalHeight];
        return [getComputedStyle(image).objectFit, x + (width - w) / 2, y + (height - h) / 2, w, h];
    });
}"""
"""How the frame and its heat lie: the way of fitting, and left, top, width and height of what is drawn."""


@pytest.mark.parametrize("shape", [(40, 400), (400, 60), (96, 128)], ids=str)
def test_the_heat_lies_on_its_frame_and_the_whole_frame_is_seen(
    plant: Plant, login: Callable[..., Any], shape: tuple[int, int]
) -> None:
    """It was spread over the square around a long frame, and the evidence of a stop showed the middle alone."""
    line = f"shape-{uuid.uuid4().hex[:6]}"
    scores = plant.shoot(line, f"{line}-a", "xxx", shape=shape)
    page = login("operator-1", viewport={"width": 1366, "height": 768})
    banner = page.locator(f'.line.stopped[data-line="{line}"]')
    banner.locator(".evidence img.heat").first.wait_for()
    tile = page.locator(f'.tile[data-camera="{line}-a"]')
    tile.scroll_into_view_if_needed()
    tile.locator("img.heat").wait_for(state="attached")
    laid = [box.evaluate(LAID) for box in (banner.locator(".evidence a").first, tile.locator(".picture"))]
    page.goto(f"/parts/{scores[0].frame_id}")
    laid.append(page.locator(".stack").evaluate(LAID))
    for frame, heat in laid:
        assert frame[0] == heat[0] == "contain"
        assert heat[1:] == pytest.approx(frame[1:], abs=0.05 * max(frame[3:]))  # less than two cells of a map


def test_a_tall_frame_leaves_room_for_what_is_said_of_it(plant: Plant, login: Callable[..., Any]) -> None:
    """One of a line camera, 1 × 2,000 pixels, was drawn a million pixels high."""
    line = f"tall-{uuid.uuid4().hex[:6]}"
    (score,) = plant.shoot(line, f"{line}-a", ".", shape=(2000, 1))
    page = login("operator-1", viewport={"width": 1366, "height": 768})
    page.locator(f'.tile[data-camera="{line}-a"]').wait_for(state="attached")
    page.goto(f"/parts/{score.frame_id}")
    assert page.locator("#whole").evaluate("image => image.decode().then(() => image.clientHeight)") <= 768


def test_a_map_in_proportion_is_sent_as_small_as_it_is(plant: Plant, login: Callable[..., Any]) -> None:
    line = f"square-{uuid.uuid4().hex[:6]}"
    (score,) = plant.shoot(line, f"{line}-a", ".")
    page = login("operator-1")
    answer = page.request.get(f"/pictures/{score.frame_id}/{score.model.hash}/heat")
    assert Image.open(io.BytesIO(answer.body())).size == (24, 24)
