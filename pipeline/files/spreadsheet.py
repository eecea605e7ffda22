"""Cells of a CSV file that a person opens in a spreadsheet."""

from typing import TypeVar

Value = TypeVar("Value")


def cell(value: Value) -> Value | str:
    """A spreadsheet takes what begins so for a formula, and runs it: with an apostrophe before it, it is text. Notes,
    names and part ids come from whoever likes."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
