"""Settings from the environment and from secret files."""

from pathlib import Path

import pytest

from pipeline import settings
from pipeline.settings import Settings, read_settings

pytestmark = pytest.mark.unit


def test_the_redis_password_goes_into_the_url_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "rediss://redis.example:6380/1?ssl_ca_certs=/ca.crt")
    monkeypatch.setenv("REDIS_USERNAME", "andon")
    monkeypatch.setenv("REDIS_PASSWORD", "p@ss/w:rd")
    assert read_settings().redis_url == "rediss://andon:p%40ss%2Fw%3Ard@redis.example:6380/1?ssl_ca_certs=/ca.crt"


def test_an_address_without_a_password_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_PASSWORD", raising=False)
    monkeypatch.setenv("REDIS_URL", "redis://redis:6379/0")
    assert read_settings().redis_url == "redis://redis:6379/0"


def test_secrets_may_be_files_named_like_the_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KAFKA_SASL_PASSWORD", "REDIS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
        (tmp_path / name).write_text(f"secret of {name}\n")
    found = Settings(_secrets_dir=tmp_path)
    assert found.kafka_sasl_password is not None
    assert found.kafka_sasl_password.get_secret_value() == "secret of KAFKA_SASL_PASSWORD"
    assert found.redis_url.startswith("redis://:secret%20of%20REDIS_PASSWORD@")


def test_no_secret_shows_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "hidden-1")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "hidden-2")
    assert "hidden" not in repr(read_settings())


def test_the_secrets_folder_is_where_the_charts_mount_it() -> None:
    assert Path("/run/secrets/andon") == settings.SECRETS_FOLDER
