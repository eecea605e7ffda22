"""Words of others on terminals and in logs: an operator's reason, a camera's name, what a peer answered."""

import logging


def printable(text: str) -> str:
    """On one line, and without what would steer the terminal of whoever reads it."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


class _OneLineEach(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))  # a traceback comes after it, in lines of its own


def begin_logging() -> None:
    """To standard error, from INFO on. A line of the log can't be forged by what it tells of."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLineEach("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def tell_no_connection_twice() -> None:
    """The library tells of every one that is refused: while a broker was away, alerting wrote 20 lines a second, and
    one in 50 was its own. For workers whose own words say it, and seldom."""
    for name in ("kafka.net", "kafka.cluster", "kafka.producer"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
