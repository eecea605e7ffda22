import errno
import re
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

from pipeline.files.config import ConfigError, read_config
from workers.alerting.actuators.config import ModbusConfig, MqttConfig, OpcUaConfig, OpcUaNodes, WebhookConfig
from workers.alerting.policy import CommonCause, Drift, LinePolicy, NotDecidableLimit, Policies, Response, StopBudget
from workers.commands.alerting import alerting

pytestmark = pytest.mark.unit

PLC = "actuator: {type: modbus, host: plc.example, coils: {stop: 0, run_permit: 1}}"
HOLDING = "defaults: {k: 3, n: 5, action: HOLD}\nlines: {a: {on_loss: hold-on-loss, "
DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "policies.yaml"


def policies(tmp_path: Path, text: str) -> Policies:
    file = tmp_path / "policies.yaml"
    file.write_text(text)
    return read_config(file, Policies)


@pytest.mark.parametrize(
    ("page", "section", "models"),
    [
        ("alerting.md", "## Policies", [LinePolicy, NotDecidableLimit, CommonCause, Drift, StopBudget]),
        ("plc.md", "## Keys", [ModbusConfig, OpcUaConfig, OpcUaNodes, MqttConfig, WebhookConfig]),
    ],
)
def test_each_key_is_on_its_page(page: str, section: str, models: list[type[BaseModel]]) -> None:
    table = (DOCS / page).read_text(encoding="utf-8").split(section)[1].split("\n## ")[0]
    assert {key for model in models for key in model.model_fields if f"`{key}`" not in table} == set()


def test_each_policy_on_the_page_of_plcs_is_taken() -> None:
    shown = re.findall(r"(?s)```yaml\n(.*?)```", (DOCS / "plc.md").read_text(encoding="utf-8"))
    defaults = {"k": 1, "n": 1, "action": "HOLD", "on_loss": "hold-on-loss"}
    lines = {str(number): yaml.safe_load(example) for number, example in enumerate(shown)}
    found = Policies.model_validate({"defaults": defaults, "lines": lines})
    assert [line.actuator and line.actuator.type for line in found.lines.values()] == [
        "modbus",
        "opcua",
        "mqtt",
        "webhook",
    ]


def test_a_line_says_only_what_differs(tmp_path: Path) -> None:
    found = policies(
        tmp_path,
        "defaults: {k: 3, n: 5, action: ALARM_ONLY, not_decidable: {limit: 7, of_last: 9}}\n"
        "lines: {a: {action: HOLD, not_decidable: {limit: 2}}, b: }",
    )
    a = found.of("a")
    assert (a.k, a.n, a.action) == (3, 5, Response.HOLD)
    assert (a.not_decidable.limit, a.not_decidable.of_last) == (2, 9)
    assert found.of("b") == found.defaults


def test_an_unknown_line_gets_the_defaults(tmp_path: Path) -> None:
    found = policies(tmp_path, "defaults: {k: 3, n: 5, action: HOLD}")
    assert found.of("nobody-named-it") == found.defaults


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("defaults: {k: 3, n: 5}", "defaults.action"),
        ("defaults: {k: 6, n: 5, action: HOLD}", "k (6) must be at most n (5)"),
        ("defaults: {k: 0, n: 5, action: HOLD}", "defaults.k"),
        ("defaults: {k: 1, n: 101, action: HOLD}", "defaults.n"),
        ("defaults: {k: 3, n: 5, action: ABORT}", "defaults.action"),
        ("defaults: {k: 3, n: 5, action: HOLD}\nlines: {a: {actuator: {type: modbus, host: h}}}", "lines.a.actuator"),
        (f"defaults: {{k: 3, n: 5, action: HOLD}}\nlines: {{a: {{{PLC}}}}}", "lines.a: on_loss"),
        (f"defaults: {{k: 3, n: 5, action: HOLD, on_loss: hold-on-loss, {PLC}}}", "defaults.actuator"),
        (
            f"defaults: {{k: 3, n: 5, action: HOLD, on_loss: hold-on-loss}}\nlines: {{a: {{{PLC}}}, b: {{{PLC}}}}}",
            "lines.b.actuator: coils.stop is line a's, too",
        ),
        (
            f"defaults: {{k: 3, n: 5, action: REJECT, on_loss: hold-on-loss}}\nlines: {{a: {{{PLC}}}}}",
            "REJECT needs a signal",
        ),
        (
            "defaults: {k: 3, n: 5, action: HOLD, stop_budget: {stops: 3, timezone: Nowhere/At_All}}",
            "defaults.stop_budget.timezone",
        ),
        ("defaults: {k: 3, n: 5, action: HOLD, stop_budget: {stops: 3, shifts: [14:00]}}", "in quotes"),
        ("defaults: {k: 3, n: 5, action: HOLD, max_age: 3}", "defaults.max_age"),
        ("defaults: {k: 3, n: 5, action: HOLD, not_decidable: {limit: 30}}", "limit (30) must be at most of_last"),
        ("defaults: {k: 3, n: 5, action: HOLD}\nlines: {a: {n: 2}}", "lines.a: k (3)"),
        (f"{HOLDING}actuator: {{type: modbus, host: h, coils: {{stop: 0}}}}}}}}", "none of these holds the line at 0"),
        (
            f"{HOLDING}actuator: {{type: modbus, host: h, coils: {{run_permit: 1}}, inverted: [run_permit]}}}}}}",
            "none of these holds the line at 0",
        ),
        (
            f"{HOLDING}actuator: {{type: opcua, url: 'opc.tcp://h', nodes: {{command: s=a, stop: s=b}}}}}}}}",
            "nodes.heartbeat is missing",
        ),
        (
            f"{HOLDING}actuator: {{type: modbus, host: h, coils: {{stop: 0}}, inverted: [held]}}}}}}",
            "inverted: held is not named under coils",
        ),
        (
            f"{HOLDING}actuator: {{type: modbus, host: h, coils: {{stop: 0}}, inverted: [heartbeat]}}}}}}",
            "lines.a.actuator.modbus.inverted",
        ),
        ("defaults: {k: 3, n: 5, action: HOLD}\nlines: {a: {k: 1}, b: {k: 2}, a: {n: 9}}", "the key 'a' stands twice"),
        (
            "defaults: {k: 3, n: 5, action: HOLD}\nlines: {Süd: {k: 1}}",
            "lines.Süd.[key]: A name has letters from A to Z",
        ),
        (
            f"defaults: {{k: 3, n: 5, action: HOLD, on_loss: hold-on-loss, {PLC}}}\n"
            "lines: {a: {actuator: {type: webhook, url: 'http://h/a', secret_file: s}}}",
            "defaults.actuator: an actuator belongs to one line",
        ),
        ("lines: {}", "defaults"),
        ("", "whole file"),
    ],
)
def test_a_faulty_policy_is_refused_by_file_and_key(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        policies(tmp_path, text)
    assert told in str(error.value)
    assert "policies.yaml" in str(error.value)


def test_a_fault_of_the_defaults_is_told_once_and_not_again_of_every_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        policies(
            tmp_path, "defaults: {k: 3, n: 5, action: HOLD, drift: {frame: 100}}\nlines: {a: {k: 1}, b: {drift: {}}}"
        )
    assert str(error.value).endswith("policies.yaml:\n  line 1, defaults.drift.frame: unknown key")


def test_a_coil_that_begins_with_0_is_refused_and_not_taken_for_an_octal_number(tmp_path: Path) -> None:
    """YAML 1.1 reads 00010 as 8: the stop would have gone to another coil."""
    with pytest.raises(ConfigError, match="00010 would be read as the octal of 8"):
        policies(tmp_path, HOLDING + "actuator: {type: modbus, host: h, coils: {run_permit: 00010}}}}")


WEBHOOK = "type: webhook, secret_file: s, url: "
NODES = "nodes: {command: s=a, stop: s=b}"


@pytest.mark.parametrize(
    ("plc", "told"),
    [
        (
            "type: opcua, url: 'opc.tcp://h', nodes: {command: 'ns=2;line-1.Command', stop: s=b}",
            "command: no node id",
        ),
        (WEBHOOK + "'http:///line-1'", "webhook.url: a URL has a host"),
        (WEBHOOK + "'http://h:99999/line-1'", "webhook.url: Port out of range"),
        (WEBHOOK + "'http://h/line 1'", "no space"),
        (WEBHOOK + "'http://h/linie-süd'", "%C3%BC"),
        (WEBHOOK + "'http://ada:geheim@h/line-1'", "no login: the signature"),
        ("type: opcua, url: 'opc.tcp://', " + NODES, "opcua.url: a URL has a host"),
        ("type: opcua, url: 'opc.tcp://ada:geheim@h', " + NODES, "no login: name `user` and `password_file`"),
    ],
)
def test_an_address_that_no_request_could_reach_or_that_tells_a_login_is_refused_unsaid(
    tmp_path: Path, plc: str, told: str
) -> None:
    """A password in a URL stood in each alarm and log of that PLC; a webhook left it out without a word."""
    text = HOLDING.replace("hold-on-loss", "run-with-alarm") + f"actuator: {{{plc}}}}}}}"
    with pytest.raises(ConfigError) as error:
        policies(tmp_path, text)
    assert told in str(error.value)
    assert "geheim" not in str(error.value)


PLC_AT = "actuator: {{type: modbus, port: 5020, host: {}, coils: {{stop: 0, run_permit: 1}}}}}}}}"


@pytest.mark.parametrize("host", ["plc:5020", "192.0.2.20:502", "modbus://plc", "tcp://192.0.2.20:502", "'[fd00::1]'"])
def test_a_host_that_is_more_than_a_name_or_an_address_is_refused(tmp_path: Path, host: str) -> None:
    """It was looked up as it stood, and `andon alerting check` had found nothing wrong."""
    with pytest.raises(ConfigError, match=r"actuator\.modbus\.host: a name or an address stands here alone"):
        policies(tmp_path, HOLDING + PLC_AT.format(host))


@pytest.mark.parametrize("host", ["plc", "plc-1.hall_2.plant", "192.0.2.20", "'fd00::1'", "'fe80::1%eth0'"])
def test_a_host_is_a_name_or_an_address_of_either_kind(tmp_path: Path, host: str) -> None:
    assert policies(tmp_path, HOLDING + PLC_AT.format(host)).of("a").actuator


@pytest.mark.parametrize(
    "plc",
    [
        "type: modbus, host: h, coils: {stop: 0, run_permit: 1}",
        "type: modbus, host: h, coils: {stop: 0}, inverted: [stop]",
        "type: modbus, host: h, block: 0, coils: {stop: 0}",
        "type: modbus, host: h, block: 0, coils: {stop: 0, run_permit: 1}, inverted: [run_permit]",
    ],
)
def test_hold_on_loss_is_taken_where_the_line_falls_to_a_hold(tmp_path: Path, plc: str) -> None:
    assert policies(tmp_path, f"{HOLDING}actuator: {{{plc}}}}}}}").of("a").actuator


def test_what_runs_on_without_andon_may_be_chosen_openly(tmp_path: Path) -> None:
    text = HOLDING.replace("hold-on-loss", "run-with-alarm") + "actuator: {type: modbus, host: h, coils: {stop: 0}}}}"
    assert policies(tmp_path, text).of("a").actuator


def two_lines(tmp_path: Path, one: str, other: str) -> Policies:
    return policies(
        tmp_path,
        "defaults: {k: 3, n: 5, action: HOLD, on_loss: run-with-alarm}\n"
        f"lines: {{a: {{actuator: {{{one}}}}}, b: {{actuator: {{{other}}}}}}}",
    )


MODBUS = "type: modbus, host: plc, "
OPCUA = "type: opcua, url: 'opc.tcp://plc', nodes: "
MQTT = "type: mqtt, host: broker, topic: "


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        (
            MODBUS + "coils: {stop: 0, run_permit: 1, held: 10}",
            MODBUS + "coils: {stop: 0, run_permit: 1, held: 11}",
            "coils.stop",
        ),
        (MODBUS + "coils: {stop: 0}", MODBUS + "coils: {stop: 4, reject: 0}", "coils.reject"),
        (MODBUS + "coils: {stop: 0}", "type: modbus, host: PLC, port: 502, coils: {stop: 0}", "coils.stop"),
        (MODBUS + "block: 100, coils: {stop: 0}", MODBUS + "block: 103, coils: {stop: 1}", "block"),
        (MODBUS + "block: 104, coils: {stop: 0}", MODBUS + "block: 100, coils: {stop: 1}", "block"),
        (MODBUS + "block: 100, coils: {stop: 0}", MODBUS + "coils: {stop: 0}", "coils.stop"),
        (OPCUA + "{command: s=a, stop: s=b}", OPCUA + "{command: s=a, stop: s=c}", "nodes.command"),
        (
            OPCUA + "{command: s=a, stop: s=b, heartbeat: s=h}",
            OPCUA + "{command: s=c, stop: s=d, heartbeat: s=h}",
            "nodes.heartbeat",
        ),
        (MQTT + "a", MQTT + "a, user: other", "topic"),
        (
            "type: webhook, url: 'http://gw/stop?line=1', secret_file: one",
            "type: webhook, url: 'http://gw/stop?line=1', secret_file: two",
            "url",
        ),
    ],
)
def test_two_lines_that_share_a_signal_are_refused(tmp_path: Path, one: str, other: str, told: str) -> None:
    with pytest.raises(ConfigError, match=f"lines.b.actuator: {told} is line a's, too"):
        two_lines(tmp_path, one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (MODBUS + "block: 100, coils: {stop: 0, held: 8}", MODBUS + "block: 105, coils: {stop: 1, held: 8}"),
        (MODBUS + "coils: {stop: 0}", MODBUS + "unit: 2, coils: {stop: 0}"),
        (MODBUS + "coils: {stop: 0}", "type: modbus, host: other, coils: {stop: 0}"),
        (MODBUS + "block: 0, coils: {stop: 10}", MODBUS + "block: 10, coils: {stop: 0}"),
        (OPCUA + "{command: s=a, stop: s=b}", OPCUA + "{command: s=c, stop: s=d}"),
        (MQTT + "a", MQTT + "b"),
        (
            "type: webhook, url: 'http://gw/stop?line=1', secret_file: s",
            "type: webhook, url: 'http://gw/stop?line=2', secret_file: s",
        ),
    ],
)
def test_two_lines_may_share_a_plc_and_what_its_program_tells(tmp_path: Path, one: str, other: str) -> None:
    assert set(two_lines(tmp_path, one, other).lines) == {"a", "b"}


def test_check_says_what_a_file_means() -> None:
    result = CliRunner().invoke(alerting, ["check", "--policies", str(EXAMPLE)])
    assert result.exit_code == 0
    assert "line-1: 3 of 5 parts NOT_OK: HOLD, within 10 s of capture" in result.output
    assert "any other line: 3 of 5 parts NOT_OK: ALARM_ONLY" in result.output
    assert "warning: line-2: any server is believed" in result.output
    assert f"metrics: {read_config(EXAMPLE, Policies).digest}" in result.output


@pytest.mark.parametrize(
    ("actuator", "told"),
    [
        (MQTT + "a", "any broker is believed, and nothing is encrypted, a password neither: name `ca_file`"),
        (MQTT + "a, ca_file: ca.pem", ""),
        ("type: webhook, url: 'http://gw/stop', secret_file: s", "whoever answers is believed: the question is signed"),
        ("type: webhook, url: 'https://gw/stop', secret_file: s", ""),
    ],
)
def test_check_tells_who_is_believed_without_proof(tmp_path: Path, actuator: str, told: str) -> None:
    """As of OPC UA without security: by either, whoever sits between may prove each stop, and the line runs on."""
    file = tmp_path / "policies.yaml"
    defaults = "defaults: {k: 3, n: 5, action: HOLD, on_loss: run-with-alarm}\n"
    file.write_text(f"{defaults}lines: {{line-1: {{actuator: {{{actuator}}}}}}}")
    result = CliRunner().invoke(alerting, ["check", "--policies", str(file)])
    assert result.exit_code == 0, result.output
    assert ("believed" in result.output) is bool(told)
    assert told in result.output


@pytest.mark.parametrize(
    ("setting", "actuator"),
    [
        ("secret_file", "type: webhook, url: 'http://gw/stop', secret_file: {none}"),
        ("password_file", MQTT + "a, user: andon, password_file: {none}"),
        ("password_file", OPCUA + "{{command: s=a, stop: s=b, heartbeat: s=c}}, user: andon, password_file: {none}"),
        ("ca_file", MQTT + "a, ca_file: {none}"),
    ],
)
def test_check_tells_of_what_a_worker_would_miss_here(tmp_path: Path, setting: str, actuator: str) -> None:
    """A secret that is not there leaves a PLC undriven, and check was green."""
    file, none = tmp_path / "policies.yaml", tmp_path / "none.txt"
    defaults = "defaults: {k: 3, n: 5, action: HOLD, on_loss: run-with-alarm}\n"
    file.write_text(defaults + f"lines: {{line-1: {{actuator: {{{actuator.format(none=none)}}}}}}}")
    result = CliRunner().invoke(alerting, ["check", "--policies", str(file)])
    assert result.exit_code == 0, result.output
    assert f"warning: line-1: {setting}: cannot read {none} (No such file or directory): put it" in result.output


def test_a_machine_s_own_trouble_is_not_told_as_a_secret_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """People looked for a file that was there. No descriptors left, played: the test needs some itself."""

    def without_descriptors(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("workers.alerting.actuators.modbus.ModbusActuator.__init__", without_descriptors)
    file = tmp_path / "policies.yaml"
    file.write_text(EXAMPLE.read_text())
    result = CliRunner().invoke(alerting, ["check", "--policies", str(file)])
    assert "Too many open files" in result.output
    assert "password_file" not in result.output


def test_check_tells_which_package_a_line_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pymodbus", "pymodbus.client", "workers.alerting.actuators.modbus"):
        monkeypatch.setitem(sys.modules, module, None)
    result = CliRunner().invoke(alerting, ["check", "--policies", str(EXAMPLE)])
    assert result.exit_code == 0
    assert "warning: line-1: 'modbus' needs the package" in result.output
    assert "pip install '.[plc]'" in result.output


def test_the_digest_is_of_what_a_file_means_and_not_of_how_it_is_written() -> None:
    one = {"defaults": {"k": 3, "n": 5, "action": "HOLD"}, "lines": {"a": {"k": 2}, "b": {"n": 6}}}
    same = {"lines": {"b": {"n": 6, "k": 3}, "a": {"k": 2}}, "defaults": {"action": "HOLD", "n": 5, "k": 3.0}}
    other = one | {"lines": {"a": {"k": 2}, "b": {"n": 7}}}
    digests = [Policies.model_validate(content).digest for content in (one, same, other)]
    assert digests[0] == digests[1] != digests[2]


def test_check_fails_on_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(alerting, ["check", "--policies", str(tmp_path / "none.yaml")])
    assert isinstance(result.exception, ConfigError)
    assert "none.yaml: No such file or directory. Give another path" in str(result.exception)
