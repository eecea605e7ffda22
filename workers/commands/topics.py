"""`andon topics …`: create and check the Kafka topics."""

from typing import Annotated

import typer

from workers.commands.wide_console import wide_console

topics = typer.Typer(help="Create and check the Kafka topics.", no_args_is_help=True)


@topics.command()
def create(
    replication: Annotated[int, typer.Option(help="Copies of each partition; -1 takes the broker's default.")] = -1,
) -> None:
    """Create the topics that are missing, with their size limits and partitions, then check them all."""
    from pipeline.kafka.admin import ensure_topics
    from pipeline.settings import read_settings

    settings = read_settings()
    ensure_topics(settings, settings.topics, replication=replication)
    show()


@topics.command()
def check() -> None:
    """Say what is wrong with the topics; exit code 2 if anything is."""
    from pipeline.kafka.admin import Admin, check_topics, kept_by
    from pipeline.settings import read_settings

    settings = read_settings()
    check_topics(settings, settings.topics, with_clocks=True)
    with Admin(settings) as admin:
        kept_by(admin, settings, [topic.name for topic in settings.topics])  # raises where no broker leads a partition
    typer.echo(f"All topics at {settings.kafka_bootstrap} are as they must be.")


@topics.command()
def show() -> None:
    """List the topics as this process expects them."""
    from rich.table import Column, Table

    from pipeline.settings import read_settings

    name = Column("topic", no_wrap=True, overflow="fold")
    table = Table(name, "key", "partitions", "largest record", "kept for", "clean-up")
    for topic in read_settings().topics:
        kept = f"{topic.retention_ms / 86_400_000:g} d"
        if topic.retention_ms < 0:
            kept = "for ever"
        elif topic.cleanup == "compact":  # Kafka reads no retention for it
            kept = "for ever, the last of each key"
        size = f"{topic.max_message_bytes / 1024:.0f} KiB"
        table.add_row(topic.name, topic.key, str(topic.partitions), size, kept, topic.cleanup)
    wide_console().print(table)
