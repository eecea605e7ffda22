"""A and B in turns within one run, so that a machine that drifts cheats neither."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.findings import Finding, Goal

Say = Callable[[str], None]


@dataclass(frozen=True)
class Contender:
    name: str
    rate: Callable[[], float]
    """One repetition, in the contest's unit."""


@dataclass(frozen=True)
class Contest:
    unit: str
    ours: Contender
    bare: Contender

    def run(self, repetitions: int, say: Say) -> "Outcome":
        rates: dict[str, list[float]] = {self.ours.name: [], self.bare.name: []}
        for repetition in range(repetitions):
            # AB, BA, AB …: a steady drift then cancels out.
            for contender in (self.ours, self.bare)[:: 1 if repetition % 2 == 0 else -1]:
                say(f"{repetition + 1}/{repetitions}: {contender.name}")
                rates[contender.name].append(contender.rate())
        return Outcome(self, tuple(rates[self.ours.name]), tuple(rates[self.bare.name]))


@dataclass(frozen=True)
class Outcome:
    contest: Contest
    ours: tuple[float, ...]
    bare: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """Of neighbours in time."""
        return tuple(ours / bare for ours, bare in zip(self.ours, self.bare, strict=True))

    def finding(self, name: str, goal: Goal, **raw: Any) -> Finding:
        ours, bare, unit = self.contest.ours.name, self.contest.bare.name, self.contest.unit
        return Finding(
            name=name,
            measured=median(self.ratios),
            unit="",
            goal=goal,
            how=f"{ours} {median(self.ours):.1f} {unit}, {bare} {median(self.bare):.1f} {unit}",
            raw={
                "unit": unit,
                ours: [round(rate, 3) for rate in self.ours],
                bare: [round(rate, 3) for rate in self.bare],
                "ratios": [round(ratio, 4) for ratio in self.ratios],
                "medians": {ours: round(median(self.ours), 3), bare: round(median(self.bare), 3)},
                **raw,
            },
        )
