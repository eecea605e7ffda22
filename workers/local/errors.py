"""What a local service raises: always with what was wrong, where, and what to do."""


class ServiceError(RuntimeError):
    """A local service could not be started, reached or stopped."""
