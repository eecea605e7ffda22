import errno
import fcntl
import os
import stat
import time
from pathlib import Path
from threading import Thread
from unittest.mock import Mock

import pytest
from argon2 import PasswordHasher
from support.disk import files_of_at_most
from typer.testing import CliRunner

from workers.commands.console import console
from workers.console.identity import ProxyError, TrustedProxy, of_session
from workers.console.limits import PER_NAME, PER_NAME_AND_PEER, PER_PEER, WINDOW_S, LoginLimits
from workers.console.logouts import Ended
from workers.console.sessions import (
    MAX_AGE_S,
    VIEWER_AGE_S,
    Session,
    SessionKeyError,
    Sessions,
    given_secret,
    new_session,
    read_secret,
)
from workers.console.users import Role, Users, UsersError

pytestmark = pytest.mark.unit
PASSWORD = "correct horse"
QUICK = PasswordHasher(time_cost=1, memory_cost=64)
"""Where it does not matter how dear a guess is."""


@pytest.fixture
def users(tmp_path: Path) -> Users:
    found = Users(tmp_path / "users.json", QUICK)
    found.add("ada", Role.OPERATOR, PASSWORD)
    return found


def test_each_role_may_what_those_before_it_may() -> None:
    assert [[role.covers(other) for other in Role] for role in Role] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


def test_a_password_is_kept_as_argon2id_for_its_owner_alone(tmp_path: Path) -> None:
    users = Users(tmp_path / "users.json")
    users.add("ada", Role.OPERATOR, PASSWORD)
    text = users.path.read_text()
    assert "$argon2id$" in text
    assert PASSWORD not in text
    assert stat.S_IMODE(users.path.stat().st_mode) == 0o600
    assert users.check("ada", PASSWORD)
    assert users.check("ada", PASSWORD + "!") is None
    assert users.check("nobody", PASSWORD) is None


@pytest.mark.parametrize("name", ["andon", "Andon", "", "a b", "x" * 65, "<b>", "../x"])
def test_a_name_that_could_mislead_is_refused(users: Users, name: str) -> None:
    with pytest.raises(UsersError, match="no name"):
        users.add(name, Role.VIEWER, PASSWORD)


def test_what_another_process_writes_counts_at_once(users: Users) -> None:
    Users(users.path, QUICK).add("grace", Role.VIEWER, PASSWORD)
    assert users.find("grace")
    Users(users.path).remove("ada")
    assert users.check("ada", PASSWORD) is None


def test_the_first_run_makes_one_engineer_whose_password_is_good_for_one_login(tmp_path: Path) -> None:
    users = Users(tmp_path / "users.json")
    first = users.bootstrap()
    assert first
    user = users.check(first.name, first.password)
    assert user
    assert (user.role, user.must_change) == (Role.ENGINEER, True)
    assert users.bootstrap() is None
    users.change_password(first.name, "another, longer one")
    assert users.check(first.name, first.password) is None
    changed = users.find(first.name)
    assert changed
    assert (changed.role, changed.must_change) == (Role.ENGINEER, False)


def test_a_users_file_that_is_broken_lets_nobody_in(users: Users) -> None:
    users.path.write_text('{"users": {"ada": {"role": "king", "password": "x"}}}')
    with pytest.raises(UsersError, match=r"users\.json"):
        users.check("ada", PASSWORD)


def test_a_users_file_that_cannot_be_looked_for_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsersError, match=r"users\.json"):
        Users(tmp_path / "file" / "users.json").check("ada", PASSWORD)


def test_no_two_pages_have_the_same_token() -> None:
    """By one that stays, its letters could be guessed: the more of them stand beside it, the shorter is the page."""
    sessions, session = Sessions(b"key"), new_session("ada")
    tokens = {sessions.csrf_token(session) for _ in range(3)}
    assert len({token[-64:] for token in tokens}) == 3
    assert all(sessions.is_csrf_token(session, token) for token in tokens)
    assert not sessions.is_csrf_token(new_session("ada"), tokens.pop())


def test_a_session_survives_a_restart_and_no_forgery(tmp_path: Path) -> None:
    before, after = (Sessions(read_secret(tmp_path / "key")) for _ in range(2))
    sealed = before.seal(new_session("ada", "print"))
    opened = after.open(sealed)
    assert opened
    assert (opened.user, opened.fingerprint) == ("ada", "print")
    assert after.is_csrf_token(opened, before.csrf_token(opened))
    assert not after.is_csrf_token(opened, "")
    assert Sessions(b"another key").open(sealed) is None
    assert after.open(sealed[:-2] + "xx") is None
    assert after.open(None) is None
    assert not after.is_csrf_token(new_session("ada"), before.csrf_token(opened))
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_no_session_is_signed_with_a_key_that_was_cut_short(tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    with pytest.raises(SessionKeyError, match="holds 0 bytes of a key of 32: remove it"):
        read_secret(tmp_path / "key")


def test_a_first_run_on_a_full_disk_names_the_key_and_leaves_nothing_of_it(tmp_path: Path) -> None:
    with files_of_at_most(0), pytest.raises(OSError, match=str(tmp_path / "key")):
        read_secret(tmp_path / "key")
    assert len(read_secret(tmp_path / "key")) == 32


def test_a_logout_outlives_a_restart_and_is_kept_no_longer_than_the_session(tmp_path: Path) -> None:
    file, session = tmp_path / "ended.json", new_session("ada", "print")
    at = 1000.0
    before = Sessions(b"key", Ended(file, lambda: at))
    sealed = before.seal(session)
    before.end(session)
    assert Sessions(b"key", Ended(file)).open(sealed) is None
    at += VIEWER_AGE_S + 1
    before.end(new_session("ben", "print"))
    assert session.sid not in file.read_text()


def test_a_list_of_logouts_that_is_no_list_keeps_nobody_out(tmp_path: Path) -> None:
    file, session = tmp_path / "ended.json", new_session("ada", "print")
    file.write_text("[1")
    sessions = Sessions(b"key", Ended(file))
    sealed = sessions.seal(session)
    assert sessions.open(sealed) == session
    sessions.end(session)
    assert Sessions(b"key", Ended(file)).open(sealed) is None


def test_a_session_ends_with_its_user_or_password(users: Users) -> None:
    user = users.find("ada")
    assert user
    session = new_session("ada", user.fingerprint)
    known = of_session(session, users)
    assert known
    assert known.role is Role.OPERATOR
    users.add("ada", Role.OPERATOR, "something else 1", replace=True)
    assert of_session(session, users) is None
    assert of_session(Session("sid"), users) is None


def test_a_wall_display_stays_logged_in_longer_than_who_may_act(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each morning it showed the login, and nobody stood there to type a password."""
    users.add("wall", Role.VIEWER, PASSWORD)
    sessions, at_s = Sessions(b"key"), time.time()
    sealed = {name: sessions.seal(new_session(name, user.fingerprint)) for name, user in users.all.items()}

    def still_in() -> set[str]:
        opened = [sessions.open(cookie) for cookie in sealed.values()]
        known = [of_session(session, users) for session in opened if session]
        return {identity.name for identity in known if identity}

    assert still_in() == {"ada", "wall"}
    monkeypatch.setattr("time.time", lambda: at_s + MAX_AGE_S + 60)
    assert still_in() == {"wall"}
    text = users.path.read_text()
    users.path.write_text(text.replace('"viewer"', '"engineer"'))
    assert still_in() == set()
    users.path.write_text(text)
    assert still_in() == {"wall"}
    monkeypatch.setattr("time.time", lambda: at_s + VIEWER_AGE_S + 60)
    assert still_in() == set()


def test_only_the_named_proxy_is_believed(users: Users) -> None:
    proxy = TrustedProxy.at(["10.0.0.5"], "X-Forwarded-User", "X-Forwarded-Role")

    def vouched(peer: str | None, **headers: str) -> object:
        found = proxy.vouches(peer, {name.replace("_", "-"): value for name, value in headers.items()}, users)
        return found and (found.name, found.role)

    assert vouched("10.0.0.5", x_forwarded_user="ada", x_forwarded_role="engineer") == ("ada", Role.OPERATOR)
    assert vouched("10.0.0.5", x_forwarded_user="eve", x_forwarded_role="staff, viewer") == ("eve", Role.VIEWER)
    assert vouched("10.0.0.5", x_forwarded_user="eve", x_forwarded_role="staff") is None  # no role, no entry
    assert vouched("10.0.0.5", x_forwarded_role="engineer") is None
    assert vouched("10.0.0.6", x_forwarded_user="ada") is None
    assert vouched(None, x_forwarded_user="ada") is None
    with pytest.raises(ProxyError, match="one address"):
        TrustedProxy.at(["10.0.0.0/8"], "a", "b")


@pytest.mark.parametrize("code", ["utf-8", "latin-1"])
def test_a_name_from_a_proxy_is_the_one_that_it_sent(users: Users, code: str) -> None:
    proxy = TrustedProxy.at(["10.0.0.5"], "X-Forwarded-User", "X-Forwarded-Role")
    as_read = "Jürgen Groß".encode(code).decode("latin-1")
    found = proxy.vouches("10.0.0.5", {"x-forwarded-user": as_read, "x-forwarded-role": "viewer"}, users)
    assert found
    assert found.name == "Jürgen Groß"


def test_failed_logins_are_slowed_by_name_and_by_peer_and_nobody_locks_another_out() -> None:
    at = [0.0]
    limits = LoginLimits(lambda: at[0])
    for _ in range(PER_NAME_AND_PEER):
        assert limits.wait_s("ada", "evil") == 0
        limits.tried("ada", "evil")
    assert limits.wait_s("ada", "evil") == WINDOW_S
    assert limits.wait_s("ada", "home") == 0
    for number in range(PER_PEER):
        limits.tried(f"user-{number}", "evil")
    assert limits.wait_s("grace", "evil") > 0
    limits.tried("lin", "home")
    limits.succeeded("lin", "home")
    assert limits.wait_s("lin", "home") == 0
    at[0] = WINDOW_S + 1
    assert limits.wait_s("ada", "evil") == 0


def test_nobody_is_locked_out_where_they_have_logged_in() -> None:
    limits = LoginLimits()
    limits.tried("ada", "terminal")
    limits.succeeded("ada", "terminal")
    for number in range(PER_NAME):
        limits.tried("ada", f"evil-{number}")
    assert limits.wait_s("ada", "elsewhere") > 0
    assert limits.wait_s("ada", "terminal") == 0


def test_a_whole_shift_may_log_in_from_one_address() -> None:
    limits = LoginLimits()
    for number in range(PER_PEER * 3):
        assert limits.wait_s(f"user-{number}", "terminal") == 0
        limits.tried(f"user-{number}", "terminal")
        limits.succeeded(f"user-{number}", "terminal")


def test_users_outlast_a_power_cut(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda opened: synced.append(os.fstat(opened).st_ino))
    users.add("grace", Role.VIEWER, PASSWORD)
    assert synced == [users.path.stat().st_ino, users.path.parent.stat().st_ino]


def test_users_outlast_a_disk_that_fails(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", Mock(side_effect=OSError(errno.EIO, "Input/output error")))
    with pytest.raises(UsersError, match="Input/output"):
        users.remove("ada")
    assert list(users.path.parent.iterdir()) == [users.path], "a draft is left"
    assert set(users.all) == {"ada"}


@pytest.mark.parametrize("by_processes", [False, True])
def test_users_that_are_added_at_once_are_all_added(users: Users, by_processes: bool) -> None:
    """Of two `andon console user add` at once, one could be lost, and both said that all was well."""
    names = [f"user-{number}" for number in range(12)]
    adders = {name: Users(users.path, QUICK) if by_processes else users for name in names}
    adding = [Thread(target=adders[name].add, args=(name, Role.VIEWER, PASSWORD)) for name in names]
    for one in adding:
        one.start()
    for one in adding:
        one.join()
    assert set(users.all) == {"ada", *names}


def test_who_holds_the_users_file_for_ever_holds_up_nobody(users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that was stopped amid its write, as by Ctrl-Z, held up every change of a password until it ended."""
    monkeypatch.setattr("workers.console.users._WAIT_S", 1.0)
    told: list[str] = []

    def add() -> None:
        try:
            users.add("bob", Role.VIEWER, PASSWORD)
        except UsersError as error:
            told.append(str(error))

    held = os.open(users.path.parent, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        adding = [Thread(target=add, daemon=True) for _ in range(3)]
        for one in adding:
            one.start()
        for one in adding:
            one.join(60)
        assert not any(one.is_alive() for one in adding)
    finally:
        os.close(held)
    assert len(told) == 3
    assert "nothing was changed: try again" in told[0]
    add()
    assert set(users.all) == {"ada", "bob"}


def test_who_is_removed_while_they_choose_a_password_stays_removed(users: Users) -> None:
    def hash_slowly(password: str) -> str:
        users.remove("ada")
        return QUICK.hash(password)

    page = Users(users.path, slow := Mock(wraps=QUICK))
    slow.hash.side_effect = hash_slowly
    with pytest.raises(UsersError, match="no user 'ada'"):
        page.change_password("ada", PASSWORD + "2")
    assert set(users.all) == set()


def test_a_users_file_that_is_mounted_read_only_is_changed_where_it_is_kept(
    users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = OSError(errno.EROFS, "Read-only file system")  # as the folder of a mounted Secret does
    monkeypatch.setattr("workers.console.users.write_whole", Mock(side_effect=refused))
    with pytest.raises(UsersError, match="change users where it is kept"):
        users.change_password("ada", PASSWORD + "2")
    assert users.check("ada", PASSWORD)


def test_a_session_key_of_somebody_elses_making_outlives_the_folder(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("0123456789abcdef" * 4 + "\n")
    session = new_session("ada", "f")
    sealed = Sessions(given_secret(file)).seal(session)
    assert Sessions(given_secret(file)).open(sealed) == session


@pytest.mark.parametrize("content", [b"", b"too short", b" " * 64])
def test_a_session_key_that_could_be_guessed_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(SessionKeyError, match="at least 32"):
        given_secret(file)


def test_a_session_key_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SessionKeyError, match="can't be read"):
        given_secret(tmp_path / "none")


def test_a_password_file_that_is_empty_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    arguments = ("user", "add", "ada", "--role", "engineer", "--password-file", str(tmp_path / "empty"))
    told = CliRunner().invoke(console, [*arguments, "--data", str(tmp_path)])
    assert isinstance(told.exception, UsersError)


def test_a_list_of_nobody_says_so(tmp_path: Path) -> None:
    told = CliRunner().invoke(console, ["user", "list", "--data", str(tmp_path)])
    assert "nobody yet" in told.output
    assert "users.json" in told.output
