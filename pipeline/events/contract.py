"""What all contracts have in common."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SCHEMA_VERSION: Literal[1] = 1

Version = Annotated[Literal[1], Field(description="Of the contract. Fields may be added within it, never changed.")]

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME, description="Letters, digits, '_', '.' and '-'; at most 64.")]

MAX_SEQUENCE = 2**63 - 1


class ContractError(ValueError):
    """A record that does not keep its contract. The message says which field and what was expected."""


class Contract(BaseModel):
    """Readers ignore fields that they do not know, so a newer writer may add some within one schema version."""

    # NaN and infinity are no JSON: Andon would write them as null, and no reader take that for a number.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, use_attribute_docstrings=True)

    def to_json(self) -> bytes:
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, value: bytes | None) -> Self:
        """Raises ContractError for anything but a whole event of this schema version."""
        try:
            return cls.model_validate_json(value or b"")
        except ValidationError as error:
            raise ContractError(f"no {cls.__name__} event: {sentence(error)}") from error


def sentence(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'value'}: {e['msg']}" for e in error.errors(include_url=False))
