"""A captured frame on its way to Kafka."""

from dataclasses import dataclass
from typing import NamedTuple

_BOOKKEEPING_BYTES = 1024
"""What a parcel takes beside its image: headers and Python objects. Generous, so that bounds hold."""


class Owner(NamedTuple):
    """Whose frames are counted together: one camera in one run of the worker."""

    camera_id: str
    line_id: str
    boot_id: str


@dataclass(frozen=True, slots=True)
class Parcel:
    owner: Owner
    sequence: int
    headers: list[tuple[str, bytes]]
    image: bytes

    @property
    def size_bytes(self) -> int:
        """In memory."""
        return len(self.image) + _BOOKKEEPING_BYTES
