"""Numbers of things, and their names, as one says them."""

from collections.abc import Iterable
from itertools import islice


def counted(number: int, thing: str) -> str:
    """'1 image', '2 images', '0 images': of a thing whose plural ends in s."""
    return f"{number} {thing}" + ("" if number == 1 else "s")


def figure(number: float) -> str:
    """'1,200', '12', '0.11': of what is small, what a whole number would call 0 or double."""
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def named(names: Iterable[object], most: int = 5) -> str:
    """'a, b, c': the first of them, and '…' where there are more."""
    first = [str(name) for name in islice(names, most + 1)]
    return ", ".join(first[:most]) + (" …" if len(first) > most else "")
