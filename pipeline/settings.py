"""Where Kafka and Redis are, and how to prove who we are. From the environment; secrets from files if need be."""

import os
import re
from pathlib import Path
from typing import Literal, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.errors import AndonError
from pipeline.files.secret_file import SecretFile
from pipeline.topics import Topics, topics

SECRETS_FOLDER = Path("/run/secrets/andon")
"""A file named like a variable (for instance KAFKA_SASL_PASSWORD) in this folder stands for that variable."""
_CHANGED_WHILE_RUNNING = ("kafka_sasl_username", "kafka_sasl_password", "redis_username", "redis_password")

_OFF = {"ssl_cert_reqs": {"none"}, "ssl_check_hostname": {"0", "f", "false", "n", "no"}}
"""What the Redis client takes in an address for not to look who answers."""
_BROKER = re.compile(
    r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+)(:(?P<port>\d{1,5}))?"
    r"|([0-9A-Fa-f]*:){2,}[0-9A-Fa-f:.]*"  # IPv6 without a port
)


class SettingsError(AndonError):
    """A setting that is missing or wrong. The message names the environment variable."""


class Settings(BaseSettings):
    """What every process shares. `Settings()` reads the environment."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", secrets_dir=SECRETS_FOLDER if SECRETS_FOLDER.is_dir() else None
    )

    kafka_bootstrap: str = Field(default="localhost:9092", description="host:port, several separated by commas")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_ssl_cafile: Path | None = None
    kafka_ssl_certfile: Path | None = None
    kafka_ssl_keyfile: Path | None = None
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    redis_address: str = Field(
        default="redis://localhost:6379/0", validation_alias="redis_url", description="redis:// or rediss:// for TLS"
    )
    redis_username: str = ""
    redis_password: SecretStr | None = None
    andon_topic_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9_.-]{0,64}$")
    andon_frame_partitions: int = Field(default=8, ge=1, le=10_000)
    andon_line_partitions: int = Field(default=4, ge=1, le=10_000)
    andon_metrics_host: str = Field(default="127.0.0.1", description="where --metrics-port listens")

    _secrets: dict[str, SecretFile] = PrivateAttr(default_factory=dict)
    """By the name of the field."""

    @field_validator("kafka_bootstrap")
    @classmethod
    def _names_brokers(cls, value: str) -> str:
        if not all(map(_is_broker, value.split(","))):
            raise ValueError("write host:port, several separated by commas alone")
        return value

    @field_validator("redis_address")
    @classmethod
    def _names_redis(cls, value: str) -> str:
        try:
            url = urlsplit(value)
            _ = url.port
        except ValueError:
            raise ValueError("its port is no number, or its host no address") from None
        if url.scheme not in ("redis", "rediss", "unix"):
            raise ValueError("begin it with redis://, or rediss:// for TLS")
        if url.scheme != "unix" and not re.fullmatch(r"/?([0-9]+/?)?", url.path):
            raise ValueError("write the number of the database behind the port, as in redis://localhost:6379/0")
        asked = parse_qs(url.query)
        unchecked = [key for key, values in asked.items() if {value.lower() for value in values} & _OFF.get(key, set())]
        if unchecked:
            raise ValueError(
                f"with {unchecked[0]} off any certificate is taken, and anybody on the way could take the password: "
                "leave it out, and name the authority in ssl_ca_certs=FILE"
            )
        return value

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        """What would send no password, or nothing encrypted, without a word."""
        protocol = self.kafka_security_protocol
        login = {
            "KAFKA_SASL_MECHANISM": self.kafka_sasl_mechanism,
            "KAFKA_SASL_USERNAME": self.kafka_sasl_username,
            "KAFKA_SASL_PASSWORD": self.kafka_sasl_password,
        }
        missing = [name for name, value in login.items() if not value]
        if protocol.startswith("SASL") and missing:
            raise ValueError(f"KAFKA_SECURITY_PROTOCOL is {protocol}, which needs {', '.join(missing)}, too")
        if self.kafka_sasl_mechanism and not protocol.startswith("SASL"):
            raise ValueError(
                f"KAFKA_SASL_MECHANISM is set, but KAFKA_SECURITY_PROTOCOL is {protocol}, which sends no password: "
                "set it to SASL_SSL"
            )
        files = [name for name, path in self.kafka_files.items() if path]
        if files and not protocol.endswith("SSL"):
            raise ValueError(
                f"{files[0]} is set, but KAFKA_SECURITY_PROTOCOL is {protocol}, which encrypts nothing: "
                "set it to SSL or SASL_SSL"
            )
        if self.redis_password is not None and urlsplit(self.redis_address).username is not None:
            raise ValueError("REDIS_URL holds a login, and REDIS_PASSWORD is set, too: take one of them away")
        return self

    @property
    def kafka_files(self) -> dict[str, Path | None]:
        """By variable."""
        return {
            "KAFKA_SSL_CAFILE": self.kafka_ssl_cafile,
            "KAFKA_SSL_CERTFILE": self.kafka_ssl_certfile,
            "KAFKA_SSL_KEYFILE": self.kafka_ssl_keyfile,
        }

    def redis_login(self) -> tuple[str, str] | None:
        """User, which may be empty, and password as of now, where they are set apart from the address."""
        now = self.as_of_now()
        return (now.redis_username, now.redis_password.get_secret_value()) if now.redis_password else None

    def as_of_now(self) -> Self:
        """With what the files in SECRETS_FOLDER hold by now: a password may be changed while a process runs, and who
        connects again needs the new one."""
        found: dict[str, str | SecretStr] = {}
        for name in _CHANGED_WHILE_RUNNING:
            known, file = getattr(self, name), SECRETS_FOLDER / name.upper()
            if known and name.upper() not in os.environ and (name in self._secrets or file.is_file()):
                text = known.get_secret_value() if isinstance(known, SecretStr) else known
                secret = self._secrets.setdefault(name, SecretFile(file, text.encode()))
                found[name] = type(known)(secret.text_as_of_now())
        return self.model_copy(update=found)

    @property
    def topics(self) -> Topics:
        return topics(
            self.andon_topic_prefix,
            frame_partitions=self.andon_frame_partitions,
            line_partitions=self.andon_line_partitions,
        )

    def group(self, name: str) -> str:
        """The consumer group of this name, of this factory alone."""
        return self.andon_topic_prefix + name


def _is_broker(address: str) -> bool:
    found = _BROKER.fullmatch(address)
    return found is not None and int(found["port"] or 0) < 65_536


def read_settings() -> Settings:
    """Raises SettingsError that names each wrong environment variable, never its value."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(
            ": ".join(filter(None, ("_".join(map(str, e["loc"])).upper(), e["msg"].removeprefix("Value error, "))))
            for e in error.errors(include_url=False, include_input=False)
        )
        raise SettingsError(f"environment: {wrong}") from error
