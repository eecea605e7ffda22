"""Numbers of things, as one says them."""


def counted(number: int, thing: str) -> str:
    """'1 image', '2 images', '0 images': of a thing whose plural ends in s."""
    return f"{number} {thing}" + ("" if number == 1 else "s")
