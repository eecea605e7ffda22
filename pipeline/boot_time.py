"""A clock that goes on while this process is frozen."""

import time


def boot_time_s() -> float:
    """Goes on while the process is frozen, and where the system can, while the machine sleeps."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
