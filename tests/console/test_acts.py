"""What a person does on the page, judged by a real alerting worker."""

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from console.conftest import ConsoleProcess
from console.plant import Plant
from support.stream import wait_until

from pipeline.events import Act, Action, AuditEntry, LineCommand, Operation
from pipeline.kafka.reading import read_to_end

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("alerting")]


@pytest.fixture
def line() -> str:
    """A line of the test's own."""
    return f"line-{uuid.uuid4().hex[:6]}"


def stopped(plant: Plant, page: Any, line: str) -> Any:
    """The banner of a line that a burst has just stopped."""
    plant.shoot(line, f"{line}-cam", "..xxx")
    banner = page.locator(f'.line[data-line="{line}"]')
    banner.filter(has_text="HOLD").wait_for()
    return banner


def act(page: Any, banner: Any, name: str, why: str) -> None:
    banner.get_by_role("button", name=name).click()
    form = page.get_by_role("dialog")
    form.get_by_label("Why").fill(why)
    form.get_by_role("button", name=name, exact=True).click()
    page.locator("#outcome").filter(has_text="–").wait_for()
    page.wait_for_load_state()  # the words stand there before the script that opens forms


def operations(plant: Plant, line: str) -> list[Operation]:
    topic = plant.settings.topics.operations.name
    found = [Operation.from_json(record.value) for record in read_to_end(plant.settings, [topic])]
    return [one for one in found if one.line_id == line]


def audit(plant: Plant, line: str) -> list[AuditEntry]:
    topic = plant.settings.topics.audit_log.name
    found = [AuditEntry.from_json(record.value) for record in read_to_end(plant.settings, [topic])]
    return [one for one in found if one.line_id == line]


def test_a_stop_shows_its_evidence_and_is_acknowledged_and_reset(
    plant: Plant, login: Callable[..., Any], line: str
) -> None:
    page = login()
    banner = stopped(plant, page, line)
    banner.filter(has_text="3 of 5 parts").wait_for()
    assert banner.locator(".evidence img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    assert not banner.get_by_role("button", name="Reset").count()  # not before it was seen
    act(page, banner, "Acknowledge", "on my way")
    banner.get_by_role("button", name="Reset").wait_for()
    act(page, banner, "Reset", "nozzle cleaned")
    banner.filter(has_text="Andon asks for nothing").wait_for()
    asked = operations(plant, line)
    assert [(one.act, one.actor, one.role, one.reason) for one in asked] == [
        (Act.ACKNOWLEDGE, "operator-1", "operator", "on my way"),
        (Act.RESET, "operator-1", "operator", "nozzle cleaned"),
    ]
    wait_until(lambda: {"acknowledge", "reset"} <= {entry.act for entry in audit(plant, line)})
    by_hand = [entry for entry in audit(plant, line) if entry.operation_id == asked[1].operation_id]
    assert {(entry.actor, entry.reason) for entry in by_hand} == {("operator-1", "nozzle cleaned")}
    topic = plant.settings.topics.line_commands.name
    commands = [LineCommand.from_json(record.value) for record in read_to_end(plant.settings, [topic])]
    assert [one.action for one in commands if one.line_id == line] == [Action.HOLD, Action.UNHOLD_PERMITTED]


def test_words_from_right_to_left_turn_none_of_those_beside_them(
    plant: Plant, login: Callable[..., Any], line: str
) -> None:
    page = login()
    banner = stopped(plant, page, line)
    reason = "\u202eالفوهة مسدودة"  # an override that nothing ends
    act(page, banner, "Acknowledge", reason)
    told = banner.locator(".standing bdi").filter(has_text="الفوهة")
    told.wait_for()
    assert told.evaluate("words => words.textContent") == reason
    page.goto(f"/alarms?line={line}")
    assert page.locator("td bdi").filter(has_text="الفوهة").count() == 1


def test_an_act_needs_a_reason(plant: Plant, login: Callable[..., Any], line: str) -> None:
    page = login()
    banner = stopped(plant, page, line)
    banner.get_by_role("button", name="Shelve").click()
    form = page.get_by_role("dialog")
    form.get_by_role("button", name="Shelve", exact=True).click()
    assert form.get_by_label("Why").evaluate("field => field.validity.valueMissing")
    form.get_by_label("Why").evaluate("field => { field.required = false }")  # a browser that does not check
    form.get_by_role("button", name="Shelve", exact=True).click()
    page.get_by_text("say why").wait_for()
    assert operations(plant, line) == []


def test_an_alarm_is_shelved_for_a_while_and_unshelved(plant: Plant, login: Callable[..., Any], line: str) -> None:
    page = login()
    banner = stopped(plant, page, line)
    act(page, banner, "Shelve", "known scratch, tooling ordered")
    banner.filter(has_text="shelved").wait_for()
    assert operations(plant, line)[0].shelve_for_s == 600
    page.goto("/alarms?show=shelved")
    row = page.locator("tr", has_text=line)
    row.get_by_role("button", name="Unshelve").click()
    page.get_by_role("dialog").get_by_label("Why").fill("tooling is there")
    page.get_by_role("dialog").get_by_role("button", name="Unshelve").click()
    page.locator("#outcome").filter(has_text="done").wait_for()
    row.wait_for(state="detached")
    assert [one.act for one in operations(plant, line)] == [Act.SHELVE, Act.UNSHELVE]


def test_two_browsers_see_the_same_and_the_second_act_is_refused_with_its_reason(
    plant: Plant, login: Callable[..., Any], line: str
) -> None:
    first, second = login("operator-1"), login("operator-2")
    banner = stopped(plant, first, line)
    other = second.locator(f'.line[data-line="{line}"]')
    other.get_by_role("button", name="Acknowledge").click()  # both have the form open
    second.get_by_role("dialog").get_by_label("Why").fill("me too")
    act(first, banner, "Acknowledge", "mine")
    other.filter(has_text="acknowledge by operator-1").wait_for()
    assert second.get_by_role("dialog").get_by_label("Why").input_value() == "me too"  # what is typed stays
    second.get_by_role("dialog").get_by_role("button", name="Acknowledge", exact=True).click()
    second.locator("#outcome").filter(has_text="REFUSED").filter(has_text="already acknowledged").wait_for()


def test_an_act_on_the_list_of_all_lines_leaves_it_the_list_of_all_lines(
    plant: Plant, login: Callable[..., Any], line: str
) -> None:
    """It was the list of that line from then on: the alarms of all others were gone from sight."""
    page = login()
    stopped(plant, page, line)
    other = f"{line}-other"
    stopped(plant, page, other)
    page.goto("/alarms")
    page.get_by_role("button", name=f"Acknowledge Defects of line {line}", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Acknowledge", exact=True).click()
    page.locator("#outcome").filter(has_text="done").wait_for()
    page.get_by_role("button", name=f"Acknowledge Defects of line {other}", exact=True).wait_for()
    assert page.locator("select[name=line]").input_value() == ""


def test_what_became_of_an_act_is_dated_and_no_news_later(plant: Plant, login: Callable[..., Any], line: str) -> None:
    """It said "reset: done, defects: over" for hours above the line that a new burst had stopped."""
    page = login()
    page.clock.install()
    banner = stopped(plant, page, line)
    act(page, banner, "Acknowledge", "on my way")
    outcome = page.locator("#outcome")
    outcome.filter(has_text=re.compile(r"done at \d\d:\d\d:\d\d UTC – defects: acknowledged")).wait_for()
    page.wait_for_url(page.url.split("?")[0])  # or it would be told anew whenever the page is loaded
    page.clock.run_for(61_000)
    outcome.wait_for(state="hidden")


def test_who_presses_again_while_a_form_is_on_its_way_loses_nothing_that_was_typed(
    plant: Plant, login: Callable[..., Any], line: str
) -> None:
    """Over a slow link: the second form took the place of the first, in which a reason was being typed."""
    page = login()
    button = stopped(plant, page, line).get_by_role("button", name="Acknowledge")
    on_their_way: list[Any] = []
    page.route("**/acts/acknowledge?*", lambda route: on_their_way.append(route))
    for _ in range(2):
        with page.expect_request("**/acts/acknowledge?*"):
            button.click()
    first, second = on_their_way
    first.continue_()
    why = page.get_by_role("dialog").get_by_label("Why")
    why.fill("nozzle two")
    with page.expect_response("**/acts/acknowledge?*") as late:
        second.continue_()
    late.value.finished()
    page.evaluate("fetch('/healthz').then((answer) => answer.text())")  # what came before it is dealt with
    assert why.input_value() == "nozzle two"


def test_the_form_of_an_alarm_that_is_over_does_not_say_that_nothing_stands(
    plant: Plant, login: Callable[..., Any], line: str
) -> None:
    page = login()
    stopped(plant, page, line)
    page.goto(f"/lines/{line}/acts/acknowledge?alarm={uuid.uuid4()}")
    form = page.locator("main .act-form")
    form.get_by_text("another stands on this line").wait_for()
    assert "Nothing stands" not in form.inner_text()


def test_an_alarm_that_came_while_the_form_was_open_is_not_acknowledged_unseen(
    plant: Plant, login: Callable[..., Any], line: str
) -> None:
    page = login()
    banner = stopped(plant, page, line)
    banner.get_by_role("button", name="Acknowledge").click()
    form = page.get_by_role("dialog")
    form.get_by_role("listitem").wait_for()
    plant.shoot(line, f"{line}-blind", "?" * 24)
    banner.filter(has_text="Not inspected").wait_for()
    form.get_by_label("Why").fill("seen")
    form.get_by_role("button", name="Acknowledge", exact=True).click()
    page.locator("#outcome").filter(has_text="done").wait_for()
    page.goto(f"/alarms?line={line}")
    rows = page.locator("tr[data-alarm]")
    rows.filter(has_text="Not inspected").filter(has_text="not acknowledged").wait_for()
    rows.filter(has_not_text="Not inspected").filter(has_not_text="not acknowledged").wait_for()


def test_what_was_typed_is_there_after_the_login_that_it_leads_to(
    plant: Plant, login: Callable[..., Any], line: str
) -> None:
    """A session of twelve hours ends in the midst of an act, too."""
    page = login()
    stopped(plant, page, line).get_by_role("button", name="Acknowledge").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Why").fill("nozzle two is clogged")
    cookies = page.context.cookies()
    page.context.clear_cookies()
    form.get_by_role("button", name="Acknowledge", exact=True).click()
    page.get_by_text("NOT done").wait_for()
    page.context.add_cookies(cookies)
    page.goto("/")
    page.wait_for_function("() => document.querySelector('dialog [name=reason]')?.value === 'nozzle two is clogged'")


def test_an_opened_alarm_can_be_acted_on_where_it_is_read(plant: Plant, login: Callable[..., Any], line: str) -> None:
    plant.shoot(line, f"{line}-cam", "..xxx")
    page = login(java_script_enabled=False)
    wait_until(lambda: page.goto(f"/alarms?line={line}") and page.locator("a.row").count() == 1)
    page.locator("a.row").click()
    page.locator("#still").wait_for()  # what stands here grows old
    page.locator("main").get_by_role("button", name="Acknowledge Defects").click()
    page.get_by_label("Why").fill("read")
    page.get_by_role("button", name="Acknowledge", exact=True).click()
    page.locator("#outcome").wait_for()
    # Told without a script, too.
    wait_until(lambda: page.reload() and "done" in page.locator("#outcome").inner_text())


def test_a_restarted_server_is_loud_while_away_and_keeps_the_session(
    plant: Plant, login: Callable[..., Any], console: ConsoleProcess, line: str
) -> None:
    page = login()
    banner = stopped(plant, page, line)
    console.stop()
    try:
        page.get_by_text("NO CONNECTION").wait_for()
        assert page.locator("body.lost").count()
    finally:
        console.start()
    page.get_by_text("NO CONNECTION").wait_for(state="hidden")
    banner.filter(has_text="HOLD").wait_for()  # what stands is learnt anew
    act(page, banner, "Acknowledge", "after the restart")
    assert operations(plant, line)[0].actor == "operator-1"


def test_all_of_it_goes_with_the_keyboard_alone(plant: Plant, login: Callable[..., Any], line: str) -> None:
    page = login()
    stopped(plant, page, line)
    page.goto("/alarms")
    for _ in range(60):
        page.keyboard.press("ArrowDown")
        if page.evaluate(f"document.activeElement.closest('tr')?.innerText.includes('{line}')"):
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"  # one sees where one is
    page.keyboard.press("a")
    page.get_by_role("dialog").wait_for()
    page.keyboard.type("typed by hand")
    page.keyboard.press("Enter")
    page.locator("#outcome").filter(has_text="done").wait_for()
    page.wait_for_load_state()
    assert [(one.act, one.reason) for one in operations(plant, line)] == [(Act.ACKNOWLEDGE, "typed by hand")]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"


def test_a_viewer_sees_all_and_can_do_nothing(plant: Plant, login: Callable[..., Any], line: str) -> None:
    page = login("viewer-1")
    banner = stopped(plant, page, line)
    assert banner.get_by_role("button").count() == 0
    answer = page.goto(f"/lines/{line}/acts/acknowledge")
    assert answer.status == 403
    token = page.locator("input[name=csrf]").first.input_value()
    sent = page.request.post(
        f"/lines/{line}/acts/acknowledge",
        form={"csrf": token, "operation_id": str(uuid.uuid4()), "reason": "x"},
    )
    assert sent.status == 403
    assert operations(plant, line) == []
