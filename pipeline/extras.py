"""What to do about packages that only some of Andon's processes need."""


def install(extra: str) -> str:
    """The command that brings them. From the checkout: Andon is on no package index, where anybody could take its
    name."""
    return f"pip install '.[{extra}]' in Andon's checkout"
