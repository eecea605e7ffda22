"""What the views show, in a real browser."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from console.conftest import ConsoleProcess
from console.plant import BOOT, MODEL, Plant, score
from support.stream import frame, incoming, wait_until

from pipeline.detectors.bundle import read_info
from pipeline.events import DeadReason
from pipeline.kafka.dead_letters import dead_letter
from workers.console.feedback import FeedbackStore, Judgement
from workers.console.memory import by_number

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("alerting")]


@pytest.fixture
def line() -> str:
    return f"view-{uuid.uuid4().hex[:6]}"


def tile(page: Any, camera: str) -> Any:
    return page.locator(f'.tile[data-camera="{camera}"]')


def test_a_tile_shows_the_last_frame_its_map_and_where_the_score_lies(
    plant: Plant, login: Callable[..., Any], line: str
) -> None:
    plant.shoot(line, f"{line}-a", ".")
    page = login()
    shown = tile(page, f"{line}-a")
    shown.scroll_into_view_if_needed()
    shown.locator("img.heat").wait_for(state="attached")
    assert shown.locator("img").first.evaluate("image => image.naturalWidth") == 96
    for words in ("OK", "0.1 of 0.5"):
        shown.filter(has_text=words).wait_for()
    assert shown.locator("rect.score").get_attribute("width") == "10"
    page.locator("body:not(.lost)").wait_for()  # a page that has just started shows what may be old, and grey
    page.get_by_label("Heat map").fill("25")
    assert shown.locator("img.heat").evaluate("image => getComputedStyle(image).opacity") == "0.25"
    first = shown.locator("img").first.get_attribute("src")
    shown.scroll_into_view_if_needed()  # the slider is at the top; tiles out of sight are left alone
    plant.shoot(line, f"{line}-a", "x")
    shown.filter(has_text="NOT OK").wait_for()
    page.wait_for_function(
        "([camera, old]) => document.querySelector(`[data-camera=\"${camera}\"] img`).getAttribute('src') !== old",
        arg=[f"{line}-a", first],
    )
    assert shown.locator(".shape").text_content() == "■"


def test_what_a_slow_page_is_told_first_is_not_lost(plant: Plant, login: Callable[..., Any], line: str) -> None:
    plant.shoot(line, f"{line}-a", ".")
    page = login()
    tile(page, f"{line}-a").wait_for(state="attached")

    def late(route: Any) -> None:
        page.wait_for_timeout(1500)
        route.continue_()

    page.route("**/static/*/wall.js", late)
    page.reload()
    tile(page, f"{line}-a").scroll_into_view_if_needed()
    tile(page, f"{line}-a").locator("img").first.wait_for()


def test_a_new_camera_appears_in_its_place_and_nothing_else_moves(
    plant: Plant, login: Callable[..., Any], line: str
) -> None:
    plant.shoot(line, f"{line}-b", ".")
    page = login()
    tile(page, f"{line}-b").wait_for(state="attached")
    page.evaluate("document.mark = 'the same page'")
    page.get_by_label("Only what is abnormal").focus()
    plant.shoot(line, f"{line}-c", ".")
    plant.shoot(line, f"{line}-a", ".")
    plant.shoot(f"{line}-2", f"{line}-d", ".")
    for camera in "acd":
        tile(page, f"{line}-{camera}").wait_for(state="attached")
    order = "tiles => tiles.map(tile => tile.dataset.camera)"
    assert page.locator(f'.group[data-line="{line}"] .tile').evaluate_all(order) == [f"{line}-{c}" for c in "abc"]
    groups = page.locator(".group").evaluate_all("groups => groups.map(group => group.dataset.line)")
    assert groups == sorted(groups, key=by_number)
    tile(page, f"{line}-d").scroll_into_view_if_needed()
    tile(page, f"{line}-d").locator("img").first.wait_for()
    assert page.evaluate("document.mark") == "the same page"
    assert page.evaluate("document.activeElement.id") == "abnormal"


def test_what_is_not_seen_is_told_by_shape_and_word(plant: Plant, login: Callable[..., Any], line: str) -> None:
    page = login("viewer-1")  # before them: two of these states pass, and a browser may take its time
    plant.strange_cameras(line)
    for camera, words, shape in (
        ("away", "source not reachable", "✕"),
        ("hung", "frozen", "❚❚"),
        ("old", "no new frame", "▽"),
        ("ended", "ended in good order", "○"),
    ):
        shown = tile(page, f"{line}-{camera}")
        shown.scroll_into_view_if_needed()
        shown.filter(has_text=words).wait_for()
        assert shown.locator(".shape").text_content() == shape
    grey = tile(page, f"{line}-old")
    grey.locator("img").first.wait_for()
    assert "grayscale" in grey.locator("img").first.evaluate("image => getComputedStyle(image).filter")
    page.get_by_label("Only what is abnormal").check()
    assert not tile(page, f"{line}-ended").is_visible()
    assert tile(page, f"{line}-away").is_visible()


def test_of_200_cameras_only_those_in_sight_load_pictures(plant: Plant, login: Callable[..., Any], line: str) -> None:
    cameras = plant.crowd(line, 200)
    page = login("viewer-1", viewport={"width": 1280, "height": 720})
    last = tile(page, cameras[-1])
    last.wait_for(state="attached")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    last.scroll_into_view_if_needed()
    last.locator("img").first.wait_for()
    crowd = {url.split("/")[-3] for url in asked if f"/pictures/{line}-" in url}
    assert 0 < len(crowd) < 80
    assert tile(page, cameras[60]).locator("img").count() == 0


def test_a_part_tells_all_and_takes_a_judgement_with_the_image(
    plant: Plant, login: Callable[..., Any], console: ConsoleProcess, line: str
) -> None:
    scores = plant.shoot(line, f"{line}-a", "..x..")
    page = login()
    tile(page, f"{line}-a").wait_for()
    strip = page.locator(".strip li")
    wait_until(lambda: page.goto(f"/parts/{scores[2].frame_id}") and strip.count() == 5)
    assert page.locator("#whole").evaluate("image => image.decode().then(() => image.naturalWidth)") == 96
    for words in ("NOT OK", "spread", "0.25", MODEL.hash, f"part-{scores[2].sequence}", "41.5 ms"):
        assert page.get_by_text(words).first.is_visible(), words
    page.get_by_label("False alarm").check()
    page.get_by_label("Note").fill("dust on the lens")
    page.get_by_role("button", name="Keep for retraining").click()
    page.get_by_text("Kept, with the image").wait_for()
    page.wait_for_load_state()  # the words stand there before the script that listens for keys
    (said,) = FeedbackStore(console.folder / "feedback.sqlite").of(scores[2].frame_id)
    assert (said.judgement.value, said.actor, said.note) == ("false_alarm", "operator-1", "dust on the lens")
    page.keyboard.press("ArrowRight")
    page.get_by_role("heading", name=f"Part part-{scores[3].sequence}").wait_for()


def test_a_judgement_is_taken_back_also_once_kafka_has_forgotten_the_frame(
    plant: Plant, login: Callable[..., Any], console: ConsoleProcess, line: str
) -> None:
    """Its image is kept, and was exported with the wrong word for ever."""
    judged, other = plant.crowd(line, 2)
    before = score(0, camera=judged, line_id=line)
    store = FeedbackStore(console.folder / "feedback.sqlite")
    store.add(before, Judgement.MISSED, "operator-2", "operator", "", (b"its image", "image/png"))
    page = login()
    for camera, answer in ((judged, "Kept, with the image"), (other, "Kafka has forgotten this frame")):
        tile(page, camera).wait_for()
        page.goto(f"/parts/{camera}:{BOOT}:0")
        page.get_by_label("Correct").check()
        page.get_by_role("button", name="Keep for retraining").click()
        page.get_by_text(answer).wait_for()
        page.goto("/")
    assert [said.judgement for said in store.of(before.frame_id)] == [Judgement.CORRECT, Judgement.MISSED]
    plant.tell([score(number, camera=judged, line_id=line) for number in range(1, 81)])
    wait_until(lambda: page.goto(f"/parts/{judged}:{BOOT}:80").ok)  # the page's own memory has let go of the first
    page.goto(f"/parts/{before.frame_id}")
    page.get_by_label("Unsure").check()
    page.get_by_role("button", name="Keep for retraining").click()
    page.get_by_text("Kept, with the image").wait_for()
    assert store.of(before.frame_id)[0].judgement is Judgement.UNSURE


def test_no_picture_stays_for_who_sits_down_after_a_logout(plant: Plant, login: Callable[..., Any], line: str) -> None:
    """The browser gave out for ten minutes what it had kept."""
    (shot,) = plant.shoot(line, f"{line}-a", "x")
    page = login("viewer-1")
    tile(page, f"{line}-a").wait_for()
    pictures = [f"/pictures/{shot.frame_id}/{place}" for place in ("whole", f"{MODEL.hash}/thumbnail")]
    ask = "paths => Promise.all(paths.map((path) => fetch(path).then((answer) => answer.status)))"
    assert page.evaluate(ask, pictures) == [200, 200]
    page.context.clear_cookies()  # as a logout does, which would end the session of other tests, too
    assert page.evaluate(ask, pictures) == [401, 401]


def test_a_part_that_the_page_has_forgotten_is_found_in_kafka_whatever_its_cameras_clock_says(
    plant: Plant, login: Callable[..., Any], line: str
) -> None:
    (first,) = plant.shoot(line, f"{line}-a", "x", age_s=-3600)
    filler = [
        first.model_copy(update={"sequence": number, "frame_id": f"{line}-a:{first.boot_id}:{number}"})
        for number in range(1, 80)
    ]
    plant.tell(filler)
    page = login("viewer-1")
    tile(page, f"{line}-a").wait_for()
    page.goto(f"/parts/{first.frame_id}")
    page.get_by_role("heading", name=f"Part {first.part_id}").wait_for()
    assert page.get_by_text("spread").is_visible()


def test_a_line_that_stands_for_longer_than_its_maps_are_kept_still_shows_why(
    plant: Plant, login: Callable[..., Any], line: str
) -> None:
    scores = plant.shoot(line, f"{line}-a", "xxx")
    page = login()
    page.locator(f'.line.stopped[data-line="{line}"]').wait_for()
    for one in scores:
        plant.maps._redis.delete(one.map_key)  # as time does
    page.reload()
    pictures = page.locator(f'.line.stopped[data-line="{line}"] .evidence img')
    pictures.nth(5).wait_for(state="attached")
    width = "images => Promise.all(images.map(image => image.decode().then(() => image.naturalWidth)))"
    assert pictures.evaluate_all(width)[::2] == [96, 96, 96]  # the frames themselves; over them nothing


def test_a_dragged_threshold_tells_its_stops_and_is_saved_as_a_new_version(
    plant: Plant, login: Callable[..., Any], console: ConsoleProcess, line: str
) -> None:
    plant.shoot(line, f"{line}-a", ".....xxx.....xxx.....")
    page = login("engineer-1")
    tile(page, f"{line}-a").wait_for()
    page.goto(f"/model?line={line}&hours=1")
    assert page.locator("#stops").inner_text() == "2"
    threshold = page.get_by_label("Threshold to try")
    threshold.focus()
    page.keyboard.press("End")  # above every score
    page.locator("#stops").filter(has_text="0").wait_for()
    page.keyboard.press("Home")  # below every score: full from the third part on, and never over
    page.locator("#stops").filter(has_text="1").wait_for()
    assert page.locator("#not-ok").inner_text() == "21"
    page.get_by_label("Threshold", exact=True).fill("0.7")
    page.get_by_label("Why").fill("less dust")
    page.get_by_role("button", name="Write a new version").click()
    page.get_by_role("heading", name=f"{MODEL.bundle}-v").wait_for()
    name = page.get_by_role("heading", level=1).inner_text()
    info = read_info(console.folder / "bundles" / name)
    assert info.calibration.threshold == 0.7
    assert info.training["threshold_chosen"]["by"] == "engineer-1"
    assert f"model_hash: {info.model_hash}" in page.inner_text("pre >> nth=0")


def test_a_trial_that_fails_does_not_tell_the_stops_of_another_threshold(
    plant: Plant, login: Callable[..., Any], line: str
) -> None:
    plant.shoot(line, f"{line}-a", ".....xxx.....xxx.....")
    page = login("engineer-1")
    tile(page, f"{line}-a").wait_for()
    page.goto(f"/model?line={line}&hours=1")
    assert page.locator("#stops").inner_text() == "2"
    asked: list[Any] = []

    def answer(route: Any) -> None:
        asked.append(route.request)
        if len(asked) > 1:  # the first takes long
            route.fulfill(status=503)

    page.route("**/model/trial?**", answer)
    with page.expect_request("**/model/trial?**"):
        page.get_by_label("Threshold to try").press("Home")
    # Nobody waits for the former threshold any more.
    with page.expect_event("requestfailed", lambda request: request.url == asked[0].url):
        page.get_by_label("Threshold to try").press("End")  # above every score
    page.locator("#stops").filter(has_text="not known").wait_for()
    assert page.locator("#not-ok").inner_text() == "not known"


def test_health_counts_frames_and_shows_dead_letters_and_what_is_in_them(
    plant: Plant, login: Callable[..., Any], line: str
) -> None:
    camera = f"{line}-a"
    plant.shoot(line, camera, "....")
    plant.beat(line, camera, captured=7, published=6, buffered=1, dropped={"spool_full": 2})
    facts = frame(99, camera=camera, line_id=line, boot_id=BOOT)
    letter = dead_letter(
        incoming(facts, b"not a picture at all"),
        plant.settings.topics.frames_dead.name,
        DeadReason.UNDECODABLE,
        "broken",
    )
    plant.publisher.publish([letter])
    page = login()
    tile(page, camera).wait_for()

    def row() -> str:
        page.goto("/health")
        return str(page.get_by_role("region", name="Frames of each camera").locator("tr", has_text=camera).inner_text())

    counted = [camera, line, "7", "6", "4", "2 spool_full", "1 undecodable", "1", "0"]
    wait_until(lambda: row().split("\t") == counted, what=str(counted))
    page.get_by_role("region", name="Dead letters").locator("tr", has_text=camera).get_by_role("link").click()
    page.get_by_text("not a picture").wait_for()
    assert page.get_by_text("broken").is_visible()
    page.goto("/health")
    with page.expect_navigation():
        page.get_by_role("button", name="Draw the account").click()

    def account() -> str:
        page.goto("/health")
        found = page.get_by_role("region", name="Account").locator("tr", has_text=camera)
        return str(found.inner_text()) if found.count() else ""

    wait_until(lambda: bool(account()))
    assert account().split("\t")[:3] == [camera, "7", "4"]


def test_what_moves_stands_still_for_who_asks(plant: Plant, login: Callable[..., Any], line: str) -> None:
    plant.shoot(line, f"{line}-a", "xxx")
    for motion, animation in (("reduce", "none"), ("no-preference", "pulse")):
        page = login(reduced_motion=motion)
        lamp = page.locator(f'.line.stopped[data-line="{line}"] .lamp')
        lamp.wait_for()
        assert lamp.evaluate("lamp => getComputedStyle(lamp).animationName") == animation


def test_a_stop_is_announced_to_who_does_not_look(plant: Plant, login: Callable[..., Any], line: str) -> None:
    page = login()
    plant.shoot(line, f"{line}-a", "xxx")
    page.locator("#said").filter(has_text=f"Line {line}: HOLD: 3 of 5").wait_for(state="attached")
    assert page.locator("#said").get_attribute("aria-live") == "assertive"


def test_the_first_run_prints_a_password_for_one_login(plant: Plant, tmp_path: Path) -> None:
    from console.conftest import first_run

    said = first_run(plant.settings, tmp_path / "data")
    assert "log in as 'engineer' with " in said
    assert "the page is at http://127.0.0.1:" in said
