"""Settings from the environment and from secret files."""

import re
from pathlib import Path

import pytest

from pipeline import settings
from pipeline.kafka.connection import KafkaUnavailableError, connection
from pipeline.kafka.publisher import Publisher
from pipeline.settings import Settings, read_settings

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[1]


def test_each_variable_is_in_the_table_of_settings() -> None:
    named = {field.validation_alias or name for name, field in Settings.model_fields.items()}
    variables = {str(name).upper() for name in named}
    for package in ("pipeline", "workers"):
        for file in (ROOT / package).rglob("*.py"):
            variables |= set(re.findall(r'"(ANDON_[A-Z_]+|(?<=envvar=")[A-Z_]+)"', file.read_text()))
    table = (ROOT / "docs" / "operations.md").read_text().split("## Settings")[1]
    assert {name for name in variables if f"`{name}`" not in table} == set()


def test_a_redis_login_stands_apart_from_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "rediss://redis.example:6380/1?ssl_ca_certs=/ca.crt"
    monkeypatch.setenv("REDIS_URL", address)
    monkeypatch.setenv("REDIS_USERNAME", "andon")
    monkeypatch.setenv("REDIS_PASSWORD", "p@ss/w:rd")
    assert read_settings().redis_address == address
    assert read_settings().redis_login() == ("andon", "p@ss/w:rd")


def test_a_redis_without_a_password_has_no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_PASSWORD", raising=False)
    monkeypatch.setenv("REDIS_URL", "redis://redis:6379/0")
    assert read_settings().redis_address == "redis://redis:6379/0"
    assert read_settings().redis_login() is None


def test_secrets_may_be_files_named_like_the_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KAFKA_SASL_PASSWORD", "REDIS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
        (tmp_path / name).write_text(f"secret of {name}\n")
    found = Settings(_secrets_dir=tmp_path)
    assert found.kafka_sasl_password is not None
    assert found.kafka_sasl_password.get_secret_value() == "secret of KAFKA_SASL_PASSWORD"
    assert found.redis_login() == ("", "secret of REDIS_PASSWORD")


def test_a_password_that_was_changed_goes_with_the_next_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A camera, and the page, tried the old one for ever, and said that they were well."""
    for name in ("KAFKA_SASL_PASSWORD", "REDIS_PASSWORD", "REDIS_USERNAME", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(settings, "SECRETS_FOLDER", tmp_path)
    files = {"KAFKA_SASL_PASSWORD": "old", "REDIS_PASSWORD": "old", "REDIS_USERNAME": "andon"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    sasl = {"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "PLAIN", "kafka_sasl_username": "camera"}
    found = Settings(_secrets_dir=tmp_path, **sasl)
    publisher = Publisher(found, "test")
    for name in ("KAFKA_SASL_PASSWORD", "REDIS_PASSWORD"):
        (tmp_path / name).write_text("new\n")
    assert connection(found, "test")["sasl_plain_password"] == "new"
    assert publisher._connection()["sasl_plain_password"] == "new"
    assert found.redis_login() == ("andon", "new")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "old")  # the environment goes before a file, here too
    assert connection(found, "test")["sasl_plain_password"] == "old"


def test_a_login_that_is_changed_as_a_whole_goes_with_the_next_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As Vault does it. The new password was sent with the old user, until a restart."""
    for name in ("KAFKA_SASL_PASSWORD", "KAFKA_SASL_USERNAME"):
        monkeypatch.delenv(name, raising=False)
        (tmp_path / name).write_text("old")
    monkeypatch.setattr(settings, "SECRETS_FOLDER", tmp_path)
    found = Settings(_secrets_dir=tmp_path, kafka_security_protocol="SASL_SSL", kafka_sasl_mechanism="PLAIN")
    for name in ("KAFKA_SASL_PASSWORD", "KAFKA_SASL_USERNAME"):
        (tmp_path / name).write_text("new")
    asked = connection(found, "test")
    assert (asked["sasl_plain_username"], asked["sasl_plain_password"]) == ("new", "new")


@pytest.mark.parametrize("left", [None, b"", b"\xff\xfe"])
def test_a_password_that_is_just_being_replaced_is_what_was_read_last(
    left: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It ended a replica's poll thread, by an error that nobody who waits for Redis expects."""
    for name in ("REDIS_PASSWORD", "REDIS_USERNAME", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(settings, "SECRETS_FOLDER", tmp_path)
    file = tmp_path / "REDIS_PASSWORD"
    file.write_text("first")
    found = Settings(_secrets_dir=tmp_path)
    file.write_text("second")
    assert found.redis_login() == ("", "second")
    file.unlink() if left is None else file.write_bytes(left)
    assert found.redis_login() == ("", "second")


def test_no_secret_shows_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "hidden-1")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "hidden-2")
    assert "hidden" not in repr(read_settings())


def test_the_secrets_folder_is_where_the_charts_mount_it() -> None:
    assert Path("/run/secrets/andon") == settings.SECRETS_FOLDER


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"KAFKA_BOOTSTRAP": "kafka:port"}, "KAFKA_BOOTSTRAP: write host:port"),
        ({"KAFKA_BOOTSTRAP": "kafka-0:9092, kafka-1:9092"}, "separated by commas alone"),
        ({"KAFKA_BOOTSTRAP": ""}, "KAFKA_BOOTSTRAP: write host:port"),
        ({"KAFKA_BOOTSTRAP": "kafka:92000"}, "KAFKA_BOOTSTRAP: write host:port"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD"),
        (
            {"KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_SASL_USERNAME": "a", "KAFKA_SASL_PASSWORD": "hidden"},
            "KAFKA_SASL_MECHANISM is set, but KAFKA_SECURITY_PROTOCOL is PLAINTEXT",
        ),
        ({"KAFKA_SSL_CAFILE": "/ca.crt"}, "KAFKA_SSL_CAFILE is set, but KAFKA_SECURITY_PROTOCOL is PLAINTEXT"),
        ({"REDIS_URL": "redis.example:6379"}, "REDIS_URL: begin it with redis://"),
        ({"REDIS_URL": "redis://redis.example:port/0"}, "REDIS_URL: its port is no number"),
        ({"REDIS_URL": "redis://redis:6379/O"}, "REDIS_URL: write the number of the database behind the port"),
        ({"REDIS_URL": "rediss://redis/0?a=b&ssl_cert_reqs=none"}, "REDIS_URL: with ssl_cert_reqs off any certificate"),
        ({"REDIS_URL": "rediss://redis/0?ssl_cert_reqs=%6eone"}, "REDIS_URL: with ssl_cert_reqs off any certificate"),
        ({"REDIS_URL": "rediss://redis/0?ssl_check_hostname=False"}, "REDIS_URL: with ssl_check_hostname off"),
        ({"REDIS_URL": "redis://me:hidden@redis/0", "REDIS_PASSWORD": "hidden"}, "REDIS_URL holds a login"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_what_can_not_work_is_told_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], says: str
) -> None:
    set_all(monkeypatch, variables)
    with pytest.raises(settings.SettingsError) as told:
        read_settings()
    assert says in str(told.value)
    assert "hidden" not in str(told.value)


@pytest.mark.parametrize("bootstrap", ["kafka", "kafka-0:9092,kafka-1:9093", "10.1.2.3:9092", "[fd00::1]:9092", "::1"])
def test_addresses_that_kafka_takes_are_taken(monkeypatch: pytest.MonkeyPatch, bootstrap: str) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", bootstrap)
    assert read_settings().kafka_bootstrap == bootstrap


@pytest.mark.parametrize(
    "url", ["rediss://h/0?ssl_ca_certs=/ca.crt", "redis://me:it@h:1/2", "redis://[::1]:6379/", "unix:///r.sock?db=1"]
)
def test_addresses_that_redis_takes_are_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.delenv("REDIS_PASSWORD", raising=False)
    monkeypatch.setenv("REDIS_URL", url)
    assert read_settings().redis_address == url


def test_a_certificate_that_is_not_there_is_told_and_may_come_back() -> None:
    """As what a camera, which must go on meanwhile, tries again."""
    found = Settings(kafka_security_protocol="SSL", kafka_ssl_cafile=Path("/nowhere/ca.crt"))
    with pytest.raises(KafkaUnavailableError, match="KAFKA_SSL_CAFILE: cannot read /nowhere/ca"):
        connection(found, "test")
