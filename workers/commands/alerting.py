"""`andon alerting …`: the worker that turns scores into alarms and line commands."""

from pathlib import Path
from typing import Annotated

import typer

from workers.commands.options import MetricsPort
from workers.commands.since import HELP, moment
from workers.commands.wide_console import wide_console

alerting = typer.Typer(name="alerting", help="Turn scores into alarms and line commands.", no_args_is_help=True)

PoliciesFile = Annotated[Path, typer.Option("--policies", help="YAML; see deploy/examples/policies.yaml.")]


@alerting.command()
def run(
    policies: PoliciesFile,
    metrics_port: MetricsPort = None,
) -> None:
    """Watch every line until told to stop."""
    import logging

    from pipeline.files.config import read_config
    from pipeline.settings import read_settings
    from workers.alerting.policy import Policies
    from workers.alerting.service import run as run_service
    from workers.commands.ending import ends_by_signal
    from workers.printable import begin_logging

    begin_logging()
    logging.getLogger("kafka").setLevel(logging.WARNING)
    stop = ends_by_signal()
    run_service(read_settings(), read_config(policies, Policies), stop, metrics_port=metrics_port)


@alerting.command()
def check(policies: PoliciesFile) -> None:
    """Say what the policy file means, or what is wrong with it. Connects to nothing.

    What a worker would miss on this machine, such as the file of a password, is a warning.
    """
    from contextlib import suppress

    from pipeline.events import now
    from pipeline.files.config import read_config
    from workers.alerting.actuators.base import ActuatorError
    from workers.alerting.actuators.certificates import remarks
    from workers.alerting.actuators.config import OpcUaConfig
    from workers.alerting.actuators.open import open_actuator
    from workers.alerting.policy import LinePolicy, Policies

    found = read_config(policies, Policies)

    def sentence(policy: LinePolicy) -> str:
        blind = policy.not_decidable
        return (
            f"{policy.k} of {policy.n} parts NOT_OK: {policy.action}, within {policy.max_age_s:g} s of capture; "
            f"{blind.limit} of {blind.of_last} frames NOT_DECIDABLE: {blind.action}"
            + (f"; at most {policy.stop_budget.stops} stops a shift" if policy.stop_budget else "")
            + (f"; PLC {policy.actuator.address}, {policy.on_loss}" if policy.actuator else "")
            + ("; SHADOW: nothing is stopped" if policy.shadow else "")
            + (f"; candidates {', '.join(policy.candidates)}" if policy.candidates else "")
        )

    for line_id, policy in found.lines.items():
        typer.echo(f"{line_id}: {sentence(policy)}")
    typer.echo(f"any other line: {sentence(found.defaults)}")
    typer.echo(f"digest, as in a worker's log and metrics: {found.digest}")
    for line_id, policy in found.lines.items():
        if policy.actuator and policy.actuator.believes:
            typer.echo(f"warning: {line_id}: {policy.actuator.believes}", err=True)
        if isinstance(policy.actuator, OpcUaConfig):
            with suppress(ImportError):  # what reads certificates comes with the protocol
                for remark in remarks(policy.actuator, now()):
                    typer.echo(f"warning: {line_id}: {remark}", err=True)
        if policy.actuator:
            try:
                open_actuator(line_id, policy.actuator).close()
            except ActuatorError as error:
                typer.echo(f"warning: {line_id}: {error}. A worker here could not drive its PLC", err=True)


@alerting.command()
def pin(
    url: Annotated[str, typer.Argument(help="Of the PLC's OPC UA server, as opc.tcp://192.0.2.21:4840.")],
    out: Annotated[Path, typer.Option(help="File for it, *.pem or *.der; name it last in `security`.")],
    timeout_s: Annotated[float, typer.Option(min=0.1, help="Of each request.")] = 5,
) -> None:
    """Fetch the certificate of an OPC UA server, so that a line believes no other.

    Compare the fingerprint with what the server itself shows, at the PLC, before the line depends on it.
    """
    import hashlib
    import ssl

    from pipeline.errors import AndonError
    from pipeline.extras import install
    from pipeline.files.durable import write_or_remove

    if not url.startswith("opc.tcp://"):
        raise AndonError(f"{url}: the URL of an OPC UA server begins with opc.tcp://, as opc.tcp://192.0.2.21:4840")
    try:
        from workers.alerting.actuators.base import ActuatorError
        from workers.alerting.actuators.opcua import certificate_of
    except ImportError as error:
        raise AndonError(f"this needs the package {error.name!r}; {install('plc')}") from error
    try:
        certificate = certificate_of(url, timeout_s)
    except ActuatorError as error:
        raise AndonError(str(error)) from error
    pem = out.suffix.lower() == ".pem"  # by which asyncua tells what a file holds
    write_or_remove(out, ssl.DER_cert_to_PEM_cert(certificate).encode() if pem else certificate)
    typer.echo(f"{out}: SHA-256 {hashlib.sha256(certificate).hexdigest()}")


@alerting.command()
def shadows(
    line: Annotated[str | None, typer.Option(help="Only this line.")] = None,
    since: Annotated[str, typer.Option(help=HELP)] = "12h",
    as_json: Annotated[bool, typer.Option("--json", help="One object a line and judge.")] = False,
) -> None:
    """Print the stops that were made and, in brackets, those that candidates, shadow bundles or shadow mode told."""
    import json
    from contextlib import suppress
    from dataclasses import asdict

    from pipeline.events import ContractError, LineCommand
    from pipeline.kafka.reading import places_at, read_to_end
    from pipeline.settings import read_settings
    from workers.alerting.people.audit_log import DATED_APART
    from workers.alerting.people.beside import beside, table

    begins, settings, commands = moment(since), read_settings(), []
    topics = [settings.topics.line_commands.name, settings.topics.shadow_commands.name]
    start = places_at(settings, topics, begins - DATED_APART)
    for record in read_to_end(settings, topics, start=start):
        with suppress(ContractError):
            command = LineCommand.from_json(record.value)
            if command.issued_at >= begins and line in (None, command.line_id):
                commands.append(command)
    told = beside(commands)
    if as_json:
        for one in told:
            typer.echo(json.dumps(asdict(one), default=lambda at: at.isoformat(timespec="milliseconds")))
        return
    wide_console().print(table(told) if told else f"no stop since {begins:%Y-%m-%d %H:%M} UTC, made or told")


@alerting.command("move-lines")
def move_lines(
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what would be moved.")] = False,
    past_unreadable: Annotated[
        bool,
        typer.Option(help="Go on past records that can't be read. A line of which nothing else is stored begins anew."),
    ] = False,
) -> None:
    """Bring the states of lines to the partitions that they belong in, after ANDON_LINE_PARTITIONS was changed.

    Stop every alerting worker first. Alarms, shelves and the order to each PLC are kept.
    """
    from pipeline.settings import read_settings
    from workers.alerting.upkeep.moving import move

    settings = read_settings()
    moved = move(settings, really=yes, past_unreadable=past_unreadable)
    for line_id, (was, now) in sorted(moved.items()):
        typer.echo(f"{line_id}: partition {was} → {now}" + ("" if yes else " (not done; add --yes)"))
    if not moved:
        typer.echo("every line is where it belongs")


@alerting.command("restore-line")
def restore_line(
    line: Annotated[str, typer.Argument(help="The line whose state can't be read.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what would be put back.")] = False,
) -> None:
    """Put back the last state of a line that can be read, where a damaged record in line-state lies over it.

    Stop every alerting worker first. What happened after that state was written is not in it. Where Kafka has none
    left, the line is put together from what was published of it: its alarms, and the stop that stands.
    """
    from pipeline.settings import read_settings
    from workers.alerting.upkeep.restoring import restore

    found = restore(read_settings(), line, really=yes)
    if found is None:
        typer.echo(f"{line}: its newest state can be read")
        return
    state, at = found.state, found.written_at
    stands = ", ".join(entry.alarm.kind.value for entry in state.alarms) or "no alarm"
    asked = f"the line is asked for {state.level}" if state.level else "nothing is asked of the line"
    done = "" if yes else " (not done; add --yes)"
    told = f"as it stood at {at:%Y-%m-%d %H:%M:%S} UTC" if at else "no state of it is left; as it was published"
    typer.echo(f"{line}: {told}: {stands}; {asked}{done}")
