"""The dates of OPC UA's certificates: told long before, and nothing that ends a stop."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alerting.plc_peers import config
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from pydantic import ValidationError
from support.certificates import signed
from typer.testing import CliRunner

from workers.alerting.actuators.certificates import remarks, validities
from workers.alerting.actuators.config import OpcUaConfig
from workers.alerting.metrics import Metrics
from workers.alerting.policy import Policies
from workers.commands.alerting import alerting

pytestmark = pytest.mark.unit

NOW = datetime.now(UTC).replace(microsecond=0)
YEARS = timedelta(days=900)


def certificate(file: Path, ends: datetime, begins: datetime = NOW - YEARS) -> Path:
    kind = Encoding.PEM if file.suffix == ".pem" else Encoding.DER
    made, key = signed(since=begins, until=ends)
    file.write_bytes(made.public_bytes(kind))
    keep(key, file)
    return file


def key_of(file: Path) -> Path:
    return file.with_suffix(".key.pem")


def keep(key: EllipticCurvePrivateKey, file: Path, how: KeySerializationEncryption | None = None) -> None:
    key_of(file).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how or NoEncryption()))


def opcua(folder: Path, own: Path, server: Path | None) -> OpcUaConfig:
    found = config("opcua", 4840, folder)
    assert isinstance(found, OpcUaConfig)
    named = [own, key_of(own), *([server] if server else [])]
    return found.model_copy(update={"security": ",".join(["Basic256Sha256,SignAndEncrypt", *map(str, named)])})


def test_what_holds_for_long_is_not_told_of(tmp_path: Path) -> None:
    own, server = (certificate(tmp_path / name, NOW + YEARS) for name in ("own.der", "server.pem"))
    found = opcua(tmp_path, own, server)
    assert [(one.whose, one.ends) for one in validities(found)] == [("own", NOW + YEARS), ("server", NOW + YEARS)]
    assert not remarks(found, NOW)
    assert not remarks(config("opcua", 4840, tmp_path), NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("begins", "ends", "told"),
    [
        (NOW - YEARS, NOW + timedelta(days=12, hours=1), "in 12 days"),
        (NOW - YEARS, NOW - timedelta(days=1), "has expired on"),
        (NOW + timedelta(days=2), NOW + YEARS, "is a clock wrong"),
    ],
)
def test_what_ends_soon_has_ended_or_not_begun_is_told_with_its_file(
    tmp_path: Path, begins: datetime, ends: datetime, told: str
) -> None:
    own, server = (certificate(tmp_path / name, ends, begins) for name in ("own.der", "server.pem"))
    first, second = remarks(opcua(tmp_path, own, server), NOW)
    assert told in first
    assert f"our own certificate {own}" in first
    assert told in second
    assert f"the pinned server certificate {server}" in second


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    """The check of the policy was content, and the line had a `plc` alarm from its first second."""
    own, server = tmp_path / "own.der", tmp_path / "missing.pem"
    own.write_bytes(b"nonsense")
    found = opcua(tmp_path, own, server)
    assert not validities(found)
    first, second, third = remarks(found, NOW)
    assert first.startswith(f"our own certificate {own} can't be read: ")
    assert second.startswith(f"our own key {key_of(own)} can't be read: ")
    assert third == f"the pinned server certificate {server} can't be read: No such file or directory"


def test_a_key_that_is_another_certificates_or_encrypted_is_told(tmp_path: Path) -> None:
    """No server can answer who signs with another key: it was asked whether it trusts us."""
    own, server = (certificate(tmp_path / name, NOW + YEARS) for name in ("own.der", "server.pem"))
    found, other = opcua(tmp_path, own, server), signed()[1]
    keep(other, own)
    assert remarks(found, NOW) == [f"our own key {key_of(own)} is not the key of {own}"]
    keep(other, own, BestAvailableEncryption(b"secret"))
    assert "is encrypted" in remarks(found, NOW)[0]


def test_a_policy_of_security_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="security"):
        OpcUaConfig.model_validate(opcua(tmp_path, tmp_path / "a", None).model_dump() | {"security": "Basic,Sign,a,b"})


def test_check_and_the_metric_tell_of_it(tmp_path: Path) -> None:
    own = certificate(tmp_path / "own.der", NOW - timedelta(days=1))
    server = certificate(tmp_path / "server.pem", NOW + YEARS)
    line = {
        "actuator": opcua(tmp_path, own, server).model_dump(mode="json", exclude={"inverted"}),
        "on_loss": "hold-on-loss",
    }
    content = {"defaults": {"k": 3, "n": 5, "action": "HOLD"}, "lines": {"line-1": line}}
    file = tmp_path / "policies.yaml"
    file.write_text(str(content).replace("None", "null"))
    result = CliRunner().invoke(alerting, ["check", "--policies", str(file)])
    assert result.exit_code == 0, result.output
    assert f"warning: line-1: our own certificate {own} has expired" in result.output
    metrics = Metrics()
    metrics.watch_certificates(Policies.model_validate(content))
    ends = metrics.registry.get_sample_value(
        "andon_alerting_plc_certificate_ends_seconds", {"line": "line-1", "whose": "server"}
    )
    assert ends == (NOW + YEARS).timestamp()
