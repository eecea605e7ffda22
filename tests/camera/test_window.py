"""The frames on their way, in the order in which they were taken."""

from collections.abc import Callable

import pytest

from workers.camera.parcel import Parcel
from workers.camera.window import Entry, Progress, Window

pytestmark = pytest.mark.unit


def test_only_what_no_older_frame_on_disk_would_be_overtaken_by_may_go_to_the_spool(
    parcel: Callable[..., Parcel],
) -> None:
    window = Window(1_000_000)
    entries = [Entry(parcel(sequence), segment) for sequence, segment in enumerate([None, 7, None, None, None])]
    for entry in entries:
        window.add(entry)
    entries[3].progress = Progress.REJECTED
    assert window.newest_in_memory_only() == [entries[2], entries[4]]
