"""Which frame ids were seen lately, to catch a camera that gives two frames one name."""

from collections import OrderedDict


def digest_of(value: bytes) -> int:
    """Of 64 bits, by a key of this process: what a camera sends by mistake never has another's. A cryptographic one
    takes five times as long, of each frame."""
    return hash(value)


class Sightings:
    """Remembers the last `capacity` frame ids with the bytes they stood for.

    The same id with the same bytes is a replay or a camera that sent again: harmless. The same id with other bytes
    is a fault of the camera. Memory of one process: what a restart forgets, `andon audit` still finds.
    """

    def __init__(self, capacity: int = 20_000) -> None:
        self._capacity = capacity
        self._seen: OrderedDict[str, int] = OrderedDict()

    def contradicts(self, frame_id: str, digest: int) -> bool:
        """Whether an earlier frame of this id held bytes of another `digest_of`. Remembers the first that was seen."""
        first = self._seen.setdefault(frame_id, digest)
        self._seen.move_to_end(frame_id)
        if len(self._seen) > self._capacity:
            self._seen.popitem(last=False)
        return first != digest
