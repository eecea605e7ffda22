"""Where Kafka and Redis are, and how to prove who we are. From the environment; secrets from files if need be."""

from pathlib import Path
from typing import Literal
from urllib.parse import quote

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.errors import AndonError
from pipeline.topics import Topics, topics

SECRETS_FOLDER = Path("/run/secrets/andon")
"""A file named like a variable (for instance KAFKA_SASL_PASSWORD) in this folder stands for that variable."""


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

    @property
    def redis_url(self) -> str:
        """With user and password in it, where they are set apart from the address. Never log it."""
        if self.redis_password is None:
            return self.redis_address
        scheme, _, rest = self.redis_address.partition("://")
        login = f"{quote(self.redis_username, safe='')}:{quote(self.redis_password.get_secret_value(), safe='')}"
        return f"{scheme}://{login}@{rest}"

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


def read_settings() -> Settings:
    """Raises SettingsError that names each wrong environment variable, never its value."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(
            f"{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}"
            for e in error.errors(include_url=False, include_input=False)
        )
        raise SettingsError(f"environment: {wrong}") from error
