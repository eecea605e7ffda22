"""What a dead process's counts must have been, from what it left behind. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.events import BootEnd
from workers.camera.ledger import DropReason, Tally
from workers.camera.parcel import Owner


@dataclass(frozen=True)
class Found:
    """The frames of one boot that are still in the spool."""

    frames: int
    last_sequence: int


def recover(remembered: Mapping[Owner, Tally], found: Mapping[Owner, Found]) -> dict[Owner, Tally]:
    """The tallies to go on with: everything captured is published, dropped or spooled, nothing else."""
    return {
        owner: _recover(remembered.get(owner, Tally()), found.get(owner, Found(0, -1)))
        for owner in {**remembered, **found}
    }


def _recover(before: Tally, found: Found) -> Tally:
    dropped = dict(before.dropped)
    accounted = before.published + sum(dropped.values()) + found.frames
    captured = max(before.captured, found.last_sequence + 1, accounted)
    clean = before.end is BootEnd.CLEAN
    if lost := captured - accounted:
        # An orderly end left nothing in memory, so what is missing then was lost by the disk.
        reason = DropReason.UNREADABLE if clean else DropReason.DIED
        dropped[reason.value] = dropped.get(reason.value, 0) + lost
    return Tally(
        captured=captured,
        published=before.published,
        dropped=dropped,
        spooled=found.frames,
        end=BootEnd.CLEAN if clean else BootEnd.DIED,
    )
