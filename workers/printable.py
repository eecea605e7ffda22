"""Words of others on terminals and in logs: an operator's reason, a camera's name, what a peer answered."""

import logging

OF_CONNECTIONS = ("kafka.net", "kafka.cluster", "kafka.producer")
"""Loggers of kafka-python."""


def printable(text: str) -> str:
    """On one line, and without what would steer the terminal of whoever reads it."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


class _OneLineEach(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))  # a traceback comes after it, in lines of its own


def begin_logging() -> None:
    """Of a worker: to standard error, from INFO on. A line of the log can't be forged by what it tells of."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLineEach("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # The library tells of every connection that is refused: while a broker was away, alerting wrote 20 lines a second,
    # and one in 50 was its own. Each worker says it in its own words, and seldom.
    for name in OF_CONNECTIONS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
