"""Findings → a table for people and a JSON file for later."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from rich.table import Table

from benchmarks.findings import Finding
from benchmarks.machine import Machine

_MET = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}


@dataclass(frozen=True)
class Run:
    started_at: datetime
    ended_at: datetime
    quick: bool
    machine: Machine
    load_at_start: float
    """Runnable processes, mean over a minute; above `machine.cores` others took part of the machine."""
    load_at_end: float
    findings: Sequence[Finding]

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        minute = self.started_at.strftime("%Y-%m-%dT%H%M")  # what is measured twice a day stands twice
        path = folder / f"{minute}-{self.machine.short_id}{'-quick' if self.quick else ''}.json"
        content = {
            "started_at": self.started_at.isoformat(timespec="seconds"),
            "ended_at": self.ended_at.isoformat(timespec="seconds"),
            "quick": self.quick,
            "machine": asdict(self.machine),
            "load_average_1_min": {"start": round(self.load_at_start, 2), "end": round(self.load_at_end, 2)},
            "findings": [finding.as_json() for finding in self.findings],
        }
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return path


def load() -> float:
    return os.getloadavg()[0]


def table(findings: Sequence[Finding]) -> Table:
    shown = Table("section", "measured", "goal", "met", "behind it")
    for finding in findings:
        unit = f" {finding.unit}" if finding.unit else ""
        digits = ".1f" if finding.unit else ".2f"
        shown.add_row(
            finding.name,
            f"{finding.measured:{digits}}{unit}",
            f"{finding.goal.relation} {finding.goal.limit:g}{unit}" if finding.goal else "–",
            _MET[finding.met],
            finding.how,
        )
    return shown
