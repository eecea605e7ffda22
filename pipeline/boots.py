"""Which boot of a camera its heartbeats tell of. Pure."""

from pipeline.events import BootEnd, Heartbeat


def succeeds(beat: Heartbeat, known: Heartbeat) -> bool:
    """Whether `beat`, which came after `known` in the topic, tells how their camera stands now.

    The order in the topic decides, and never a boot id or `sent_at`: a camera box may start before its clock is set. A
    worker reports the boots of its predecessors too, while it empties their spool, so an end alone does not tell that
    its boot was the last. But who reports that another died runs itself, and says so.
    """
    if beat.boot_id == known.boot_id or beat.end is BootEnd.RUNNING:
        return True
    return beat.end is BootEnd.CLEAN and known.end is not BootEnd.RUNNING
