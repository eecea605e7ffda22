"""The base of every part of the policy file."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A misspelt key is an error: it would otherwise leave a limit at a value that nobody chose."""

    model_config = ConfigDict(frozen=True, extra="forbid")
