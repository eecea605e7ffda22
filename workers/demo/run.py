"""A finished demo, as those who sum it up and draw it see it."""

from dataclasses import dataclass
from datetime import datetime

from pipeline.audit.accounting import CameraAccount
from pipeline.settings import Settings
from workers.demo.stage import Options, Stage
from workers.demo.watch import Watch


@dataclass(frozen=True)
class Run:
    """What a demo leaves behind for the summary and the report."""

    options: Options
    stage: Stage
    fps: float
    """That each camera was told to send."""
    watch: Watch
    accounts: list[CameraAccount]
    stopped: list[str]
    """Lines that were seen running at the PLC, and then stopped by a command that was read back."""
    settings: Settings
    started_at: datetime
    seconds_to_ready: float
