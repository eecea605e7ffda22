"""`andon audit` shows what others wrote to the topics, and is not steered by it."""

import io

import pytest
from rich.console import Console

from pipeline.audit.accounting import Ledger
from pipeline.kafka.records import Incoming
from workers.commands.audit import account_table

pytestmark = pytest.mark.unit

FOREIGN = (b"[/bold]", b"\x1b]0;owned\x07\x1b[2J", b"k" * 2**20)
"""Keys of records in `frames`: markup that ends what never began, orders to a terminal, and a megabyte."""


def shown(ledger: Ledger) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(account_table(ledger.accounts({0: len(FOREIGN)})))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_foreign_key_neither_ends_nor_steers_the_table() -> None:
    """The first ended the audit in a trace as long as `frames` kept the record."""
    ledger = Ledger()
    for offset, key in enumerate(FOREIGN):
        ledger.add_frame(Incoming("frames", 0, offset, 0, key, b"x"))
    dead = (("dead.partition", b"0"), ("dead.offset", b"0"), ("dead.reason", b"[/red]\x1b[2J"))
    ledger.add_dead(Incoming("frames.dead", 0, 0, 0, FOREIGN[0], b"x", dead))
    table = shown(ledger)
    assert "[/bold]" in table
    assert "[/red]" in table
    assert "\x1b" not in table
    assert "k" * 64 in table
    assert "k" * 65 not in table
