"""What stands before every page. The application is whole; Kafka and Redis are away, which no guard may care about."""

import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from argon2 import PasswordHasher
from console.plant import score
from fastapi.routing import APIRoute
from jinja2 import FileSystemLoader
from starlette.testclient import TestClient

from pipeline.events import KafkaPosition
from pipeline.kafka.connection import KafkaUnavailableError
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Incoming
from pipeline.maps import MapStore
from pipeline.settings import Settings
from workers.console import live
from workers.console.account import Accountant
from workers.console.acts import Acts
from workers.console.app import ROUTERS, create_app
from workers.console.desk import Desk, Options
from workers.console.feedback import FeedbackStore
from workers.console.gauges import GaugeReader
from workers.console.guard import MAX_BODY_BYTES
from workers.console.history import Histories
from workers.console.identity import TrustedProxy
from workers.console.limits import PER_NAME_AND_PEER, PER_PEER
from workers.console.live import Live
from workers.console.memory import Memory
from workers.console.pages.common import safe_next, templates
from workers.console.pages.static import STATIC, Static
from workers.console.pictures import Pictures
from workers.console.reader import Reader
from workers.console.sessions import COOKIE, Sessions
from workers.console.users import Role, Users

pytestmark = pytest.mark.unit
PASSWORD = "correct horse"
QUICK = PasswordHasher(time_cost=1, memory_cost=64)
AWAY = Settings(kafka_bootstrap="127.0.0.1:1", redis_url="redis://127.0.0.1:1/0")


def desk_at(folder: Path, **options: Any) -> Desk:
    """Nothing of it has been started."""
    memory = Memory(AWAY.topics)
    reader, gauges = Reader(AWAY, memory), GaugeReader(AWAY)
    chosen = Options(data=folder, **options)
    desk = Desk(
        settings=AWAY,
        options=chosen,
        users=Users(folder / "users.json", QUICK),
        sessions=Sessions(b"secret"),
        memory=memory,
        reader=reader,
        gauges=gauges,
        pictures=Pictures(AWAY, MapStore(AWAY.redis_address, timeout_s=0.2)),
        acts=Acts(AWAY, Publisher(AWAY, "test"), memory),
        feedback=FeedbackStore(folder / "feedback.sqlite"),
        histories=Histories(AWAY),
        accountant=Accountant(AWAY),
        live=Live(memory, reader, gauges, chosen.policy, 10),
    )
    for role in Role:
        desk.users.add(role.value, role, PASSWORD)
    return desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return desk_at(tmp_path)


@pytest.fixture
def client(desk: Desk) -> Iterator[TestClient]:
    with TestClient(create_app(desk), follow_redirects=False) as client:
        yield client


def token(client: TestClient, path: str = "/login") -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', client.get(path, headers={"accept": "text/html"}).text)
    assert found
    return found[1]


def log_in(client: TestClient, name: str, password: str = PASSWORD, **form: str) -> Any:
    return client.post("/login", data={"csrf": token(client), "name": name, "password": password, "next": "/"} | form)


ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]


def filled(path: str) -> str:
    for name, value in (("frame_id", "cam:b1:1"), ("act", "reset"), ("line_id", "l")):
        path = path.replace(f"{{{name}}}", value)
    return re.sub(r"{[^}]+}", "1", path)


def test_nothing_is_shown_to_who_is_not_logged_in(client: TestClient) -> None:
    assert len(ROUTES) > 15
    for path in {filled(route.path) for route in ROUTES if not route.path.startswith("/login")}:
        assert client.get(path).status_code == 401, path
        sent_on = client.get(path, headers={"accept": "text/html"})
        assert sent_on.status_code == 303, path
        assert sent_on.headers["location"].startswith("/login?next="), path


def test_a_part_is_not_called_expired_while_kafka_is_away(
    client: TestClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(client, "engineer")
    place = KafkaPosition(topic=AWAY.topics.frames.name, partition=0, offset=0)
    monkeypatch.setattr("workers.console.pages.part.place_of", lambda desk, frame_id: place)
    assert client.get("/parts/cam:b1:1").status_code == 503


def test_no_cookie_is_unquoted(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library takes most of a minute for 64 KB of backslashes, which anybody may send, and every page waits."""
    monkeypatch.setattr("starlette.requests.cookie_parser", lambda header: pytest.fail(f"{len(header)} bytes read"))
    log_in(client, "viewer")
    ours = client.cookies[COOKIE]
    client.cookies.clear()
    for cookie, status in ((f"{COOKIE}={ours}", 200), (f"other=1; {COOKIE}={ours}", 200), (f'{COOKIE}="{ours}"', 401)):
        assert client.get("/password", headers={"cookie": cookie}).status_code == status, cookie


def test_no_act_without_its_token_and_none_from_another_site(client: TestClient) -> None:
    log_in(client, "engineer")
    paths = [filled(route.path) for route in ROUTES if "POST" in route.methods]
    assert len(paths) >= 6
    for path in paths:
        assert client.post(path, data={"csrf": "0" * 64}).status_code == 403, path
        assert client.post(path).status_code == 403, path
        foreign = client.post(path, data={"csrf": token(client, "/password")}, headers={"sec-fetch-site": "cross-site"})
        assert foreign.status_code == 403, path


@pytest.mark.parametrize(
    ("role", "path"),
    [
        ("viewer", "/lines/l/acts/reset"),
        ("viewer", "/parts/cam:b1:1/feedback"),
        ("viewer", "/health/account"),
        ("operator", "/model/versions"),
    ],
)
def test_no_role_no_act(client: TestClient, role: str, path: str) -> None:
    log_in(client, role)
    answer = client.post(path, data={"csrf": token(client, "/password")})
    assert answer.status_code == 403
    assert "needs the role" in answer.text


def test_every_answer_tells_the_browser_what_it_may_not_do(client: TestClient) -> None:
    log_in(client, "viewer")
    style = f"{STATIC.address}/console.css"
    for path in ("/", "/login", "/alarms", "/health", "/nowhere", style, "/healthz", "/parts/x"):
        headers = client.get(path, headers={"accept": "text/html"}).headers
        assert headers["content-security-policy"].startswith("default-src 'self';"), path
        assert "unsafe" not in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["x-frame-options"] == "DENY", path
    assert client.get("/", headers={"accept": "text/html"}).headers["cache-control"] == "no-store"


def test_the_head_of_a_page_is_that_of_the_whole(client: TestClient) -> None:
    """What watches over pages asks for no more, and was told 405 also by `/healthz`."""
    log_in(client, "viewer")
    for path in ("/", "/alarms", "/healthz", "/nowhere", f"{STATIC.address}/console.css"):
        head, whole = client.head(path), client.get(path)
        assert (head.status_code, head.headers["content-type"]) == (whole.status_code, whole.headers["content-type"])
        assert head.content == b""
    assert client.head("/events").status_code == 405


def test_a_page_is_compressed(client: TestClient) -> None:
    """500 lines came as a megabyte, of which a fortieth is no repetition."""
    log_in(client, "viewer")
    for path in ("/", f"{STATIC.address}/console.css"):
        assert client.get(path).headers["content-encoding"] == "gzip"


def test_what_pages_share_is_asked_for_once_and_anew_once_it_changes(client: TestClient, tmp_path: Path) -> None:
    """Style and scripts came again with each page, over a slow link, too."""
    for address in re.findall(r'(?:href|src)="(/static/[^"]+)"', client.get("/login").text):
        assert "immutable" in client.get(address).headers["cache-control"], address
    changed = tmp_path / "static"
    shutil.copytree(Path(create_app.__code__.co_filename).parent / "static", changed)
    assert Static(changed).address == STATIC.address
    (changed / "morph.js").write_text("// another")
    assert Static(changed).address != STATIC.address


def test_files_that_are_replaced_while_the_page_runs_do_not_come_under_the_address_of_those_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an installation was renewed before its restart, a browser kept the new scripts as the old ones for a year,
    also once it was rolled back."""
    (tmp_path / "wall.js").write_text("// as it was")
    before = Static(tmp_path)
    monkeypatch.setattr("workers.console.app.STATIC", before)
    with TestClient(create_app(desk_at(tmp_path))) as client:
        (tmp_path / "wall.js").write_text("// newer")
        assert client.get(f"{before.address}/wall.js").text == "// as it was"
        assert client.get(f"{before.address}/none.js").status_code == 404


def test_a_page_is_drawn_by_the_templates_that_came_with_its_scripts(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the renewal of an installation and its restart the pages were new, and their scripts were not."""

    def get_source(*_: object) -> NoReturn:
        raise AssertionError("read from disk")

    monkeypatch.setattr(FileSystemLoader, "get_source", get_source)
    monkeypatch.setattr(templates.env, "cache", {})
    assert client.get("/login").status_code == 200


def test_no_page_holds_a_script_a_style_or_an_address_of_elsewhere() -> None:
    for file in (Path(create_app.__code__.co_filename).parent / "templates").glob("*.html"):
        text = file.read_text()
        assert not re.search(r"<script(?![^>]*\bsrc=\"{{ static }}/)", text), file
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|https?:|//[a-z]", text), file


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(client: TestClient, tmp_path: Path) -> None:
    cookie = log_in(client, "viewer").headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    (tmp_path / "tls").mkdir()
    with TestClient(create_app(desk_at(tmp_path / "tls", secure=True))) as by_tls:
        assert "; Secure" in by_tls.get("/login").headers["set-cookie"]


def test_a_users_file_that_is_damaged_is_not_called_a_logout(client: TestClient, desk: Desk) -> None:
    """Every screen left its stops for the words about the file, and a wall display stayed there once it was mended."""
    log_in(client, "viewer")
    desk.users.path.write_text("{")
    for path in ("/healthz", "/events", "/"):
        answer = client.get(path, headers={"accept": "text/html"})
        assert (answer.status_code, answer.headers["andon-answer"]) == (503, "console"), path
        assert int(answer.headers["refresh"]) > 0, path


def test_a_login_changes_the_session_and_a_logout_ends_it(client: TestClient, desk: Desk) -> None:
    client.get("/login")
    before = client.cookies[COOKIE]
    assert log_in(client, "viewer").headers["location"] == "/"
    assert client.cookies[COOKIE] != before
    assert client.get("/").status_code == 200
    client.post("/logout", data={"csrf": token(client, "/password")})
    assert client.get("/").status_code == 401


def test_a_cookie_that_was_put_aside_is_worth_nothing_after_the_logout(client: TestClient) -> None:
    log_in(client, "operator")
    aside = client.cookies[COOKIE]
    client.post("/logout", data={"csrf": token(client, "/password")})
    client.cookies.clear()
    client.cookies.set(COOKIE, aside)
    assert client.get("/").status_code == 401


def test_who_acts_after_the_session_is_over_is_told_so_and_led_back(client: TestClient) -> None:
    log_in(client, "operator")
    form = {"csrf": token(client, "/password"), "reason": "seen", "operation_id": "1"}
    client.cookies.clear()
    there = {"accept": "text/html", "referer": "http://testserver/alarms?line=l"}
    sent_on = client.post("/lines/l/acts/acknowledge", data=form, headers=there)
    assert sent_on.status_code == 303
    page = client.get(sent_on.headers["location"]).text
    assert "was NOT done" in page
    assert log_in(client, "operator", next="/alarms?line=l").headers["location"] == "/alarms?line=l"
    assert 'name="next" value="/alarms?line=l"' in page
    assert client.get("/login", params={"next": "/"}).status_code == 303


def test_a_login_page_of_yesterday_asks_once_more(client: TestClient) -> None:
    form = {"csrf": token(client), "name": "viewer", "password": PASSWORD, "next": "/alarms"}
    client.cookies.clear()  # it is over
    again = client.post("/login", data=form)
    assert again.status_code == 403
    assert 'name="name" required maxlength="64" autocomplete="username" value="viewer"' in again.text
    assert 'name="next" value="/alarms"' in again.text
    fresh = re.search(r'name="csrf" value="([0-9a-f]+)"', again.text)
    assert fresh
    assert client.post("/login", data=form | {"csrf": fresh[1]}).headers["location"] == "/alarms"


def test_logins_that_fail_too_often_have_to_wait(client: TestClient) -> None:
    for _ in range(PER_NAME_AND_PEER):
        assert log_in(client, "operator", "wrong").status_code == 403
    slowed = log_in(client, "operator")
    assert slowed.status_code == 429
    assert int(slowed.headers["retry-after"]) > 0
    assert log_in(client, "viewer").status_code == 303


def test_who_guesses_behind_the_same_proxy_locks_nobody_else_out(tmp_path: Path) -> None:
    with TestClient(create_app(desk_at(tmp_path, behind_tls=True)), follow_redirects=False) as client:

        def tried(name: str, address: str, password: str) -> int:
            client.headers["x-forwarded-for"] = f"192.0.2.1, {address}"
            return int(log_in(client, name, password).status_code)

        guessed = [tried(f"nobody{number}", "192.0.2.66", "wrong") for number in range(PER_PEER + 1)]
        assert guessed == [403] * PER_PEER + [429]
        assert tried("operator", "192.0.2.7", PASSWORD) == 303


def test_only_a_proxy_that_was_named_is_asked_whose_tries_they_are(client: TestClient) -> None:
    for number in range(PER_NAME_AND_PEER):
        client.headers["x-forwarded-for"] = f"192.0.2.{number}"
        assert log_in(client, "operator", "wrong").status_code == 403
    assert log_in(client, "operator").status_code == 429


def test_the_old_password_is_guessed_no_more_often_than_at_the_login(client: TestClient) -> None:
    """By whoever finds a tablet that somebody left logged in."""
    log_in(client, "operator")
    form = {
        "csrf": token(client, "/password"),
        "old": "wrong",
        "new": "a better password",
        "again": "a better password",
    }
    assert [client.post("/password", data=form).status_code for _ in range(PER_NAME_AND_PEER)] == [403] * 5
    slowed = client.post("/password", data=form | {"old": PASSWORD})
    assert (slowed.status_code, "Too many failed tries" in slowed.text) == (429, True)


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil", "javascript:x", "/a\r\nb: c", "/\t/evil"]
)
def test_a_login_leads_nowhere_else(client: TestClient, target: str) -> None:
    assert safe_next(target) == "/"
    assert log_in(client, "viewer", next=target).headers["location"] == "/"


def test_a_one_time_password_opens_nothing_but_the_choice_of_another(client: TestClient, desk: Desk) -> None:
    desk.users.add("new", Role.ENGINEER, PASSWORD, must_change=True)
    assert log_in(client, "new").headers["location"] == "/password"
    assert client.get("/").headers["location"] == "/password"
    assert client.get("/events").headers["location"] == "/password"
    form = {
        "csrf": token(client, "/password"),
        "old": PASSWORD,
        "new": "a better password",
        "again": "a better password",
    }
    assert client.post("/password", data=form | {"again": "another one, oh"}).status_code == 400
    assert client.post("/password", data=form | {"old": "x"}).status_code == 403
    assert client.post("/password", data=form).headers["location"] == "/"
    assert client.get("/").status_code == 200


def test_more_bytes_than_an_act_needs_are_refused_unread(client: TestClient) -> None:
    assert client.post("/login", content=b"x" * (MAX_BODY_BYTES + 1)).status_code == 413
    assert client.post("/login", content=iter([b"x"] * 3)).status_code == 413  # of unknown length


def test_another_host_name_is_not_answered(tmp_path: Path) -> None:
    app = create_app(desk_at(tmp_path, hosts=frozenset({"andon.plant"})))
    assert TestClient(app, base_url="http://andon.plant:8484").get("/login").status_code == 200
    assert TestClient(app, base_url="http://evil.example").get("/login").status_code == 421


def test_the_header_of_a_proxy_counts_from_that_proxy_alone(tmp_path: Path) -> None:
    proxy = TrustedProxy.at(["10.0.0.5"], "X-Forwarded-User", "X-Forwarded-Role")
    app = create_app(desk_at(tmp_path, proxy=proxy))
    headers = {"X-Forwarded-User": "eve", "X-Forwarded-Role": "engineer"}
    assert "eve" in TestClient(app, client=("10.0.0.5", 1)).get("/", headers=headers).text
    assert TestClient(app, client=("10.0.0.9", 1)).get("/", headers=headers).status_code == 401
    nobody = {"X-Forwarded-User": "eve", "X-Forwarded-Role": "staff"}
    assert TestClient(app, client=("10.0.0.5", 1)).get("/", headers=nobody).status_code == 401


def test_a_page_without_kafka_says_that_it_shows_the_past(client: TestClient, desk: Desk) -> None:
    log_in(client, "viewer")
    desk.reader.fault = "no Kafka broker answers"
    assert "no Kafka broker answers" in client.get("/").text


def test_a_page_that_can_read_nothing_does_not_say_that_there_is_nothing(
    client: TestClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "EVERY_S", -1)
    log_in(client, "viewer")
    fine = ("No alarm in the last seven days", "No camera dropped a frame", "No frame is dead", "Nothing yet")
    desk.reader.fault = "no Kafka broker answers"
    assert [words for words in fine if words in client.get("/health").text] == []
    desk.reader.fault = None
    assert [words for words in fine if words in client.get("/health").text] == list(fine)


def test_a_list_of_a_line_that_is_not_known_is_not_called_one_of_all_lines(client: TestClient) -> None:
    log_in(client, "viewer")
    assert "<option selected>line-99</option>" in client.get("/alarms?line=line-99").text


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/model", "workers.console.history.Histories.of"),
        ("/dead/0/0", "workers.console.pages.dead.read_one"),
        ("/parts/cam:b1:1", "workers.console.pictures.Pictures.keys_of"),
    ],
)
def test_who_loads_a_page_that_waits_for_kafka_or_redis_again_and_again_holds_up_no_other(
    client: TestClient, desk: Desk, monkeypatch: pytest.MonkeyPatch, path: str, asked: str
) -> None:
    log_in(client, "viewer")
    made = score(0)
    desk.memory.read(Incoming(AWAY.topics.scores.name, 0, 0, 0, b"k", made.to_json()))
    with many_at(lambda: client.get(path), asked, monkeypatch) as hanging:
        assert client.get("/").status_code == 200
        assert hanging()


@contextmanager
def many_at(request: Callable[[], object], asked: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], bool]]:
    """Fifty of this request at once, while what it asks hangs. Whether nothing of it has ended yet."""
    back, ended = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> None:
        back.wait(60)
        ended.set()
        raise KafkaUnavailableError("nobody answers")

    monkeypatch.setattr(asked, hang)
    impatient = [threading.Thread(target=request) for _ in range(50)]
    for each in impatient:
        each.start()
    try:
        time.sleep(0.5)
        yield lambda: not ended.is_set()
    finally:
        back.set()
        for each in impatient:
            each.join()


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/login", "workers.console.users.Users.check"),
        ("/password", "workers.console.users.Users.check"),
        ("/lines/line-1/acts/reset", "workers.console.acts.Acts.ask"),
    ],
)
def test_logins_and_acts_that_wait_hold_up_no_other(
    client: TestClient, desk: Desk, monkeypatch: pytest.MonkeyPatch, path: str, asked: str
) -> None:
    """Forty logins at once, or forty acts while Kafka was slow, and no page answered."""
    log_in(client, "operator")
    desk.memory.read(Incoming(AWAY.topics.scores.name, 0, 0, 0, b"k", score(0).to_json()))
    form = {"csrf": token(client, "/password"), "operation_id": str(uuid.uuid4()), "shown_ms": "1", "reason": "mended"}
    monkeypatch.setattr(desk.limits, "wait_s", lambda *_: 0.0)
    with many_at(lambda: client.post(path, data=form), asked, monkeypatch) as hanging:
        assert client.get("/").status_code == 200
        assert hanging()


@pytest.mark.parametrize("path", ["/alarms/123", "/model?k=&n=5", "/dead/x/1", "/logout", "/parts/cam:b1:1/feedback"])
def test_an_address_that_was_cut_short_or_is_asked_again_leads_on(client: TestClient, path: str) -> None:
    """It ended at a line of JSON, where a tablet that shows no address bar had no way back."""
    log_in(client, "operator")
    answer = client.get(path, headers={"accept": "text/html"})
    assert answer.status_code in (400, 405)
    assert 'href="/"' in answer.text
    for other in ("application/json", "image/avif,image/webp,*/*"):  # a whole page for each picture of a wall is much
        assert client.get(path, headers={"accept": other}).json()["error"]


def test_names_from_outside_are_text_and_never_markup(client: TestClient, desk: Desk) -> None:
    log_in(client, "operator")
    desk.reader.fault = "<script>alert(1)</script>"
    assert "<script>alert" not in client.get("/").text
    assert "<b>" not in client.get("/parts/<b>x</b>", headers={"accept": "text/html"}).text


def test_a_picture_that_can_not_be_read_is_not_called_not_kept(client: TestClient) -> None:
    """While Redis was away, the evidence of a stop was said to be lost."""
    log_in(client, "viewer")
    shown = client.get(f"/pictures/cam:b1:1/{'0' * 16}/thumbnail?stand_in=true").text
    assert "not read" in shown
