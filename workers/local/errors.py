"""What a local service raises: always with what was wrong, where, and what to do."""

from pipeline.errors import AndonError


class ServiceError(AndonError):
    """A local service could not be started, reached or stopped."""
