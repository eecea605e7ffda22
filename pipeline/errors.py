"""The base of every error that a person can mend."""


class AndonError(Exception):
    """Its message says what was wrong, where, and what to do; the command line prints it without a traceback."""
