"""A and B in turns within one run, so that a machine that drifts cheats neither."""

from collections.abc import Callable, Mapping, Sequence
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
class Rates:
    """What each contender reached; repetition n of all is neighbouring in time."""

    unit: str
    of: Mapping[str, Sequence[float]]

    def ratio(self, name: str, ours: Contender, bare: Contender, goal: Goal, **facts: Any) -> Finding:
        """The median over the repetitions of ours / bare."""
        ratios = [one / other for one, other in zip(self.of[ours.name], self.of[bare.name], strict=True)]
        medians = {contender.name: median(self.of[contender.name]) for contender in (ours, bare)}
        return Finding(
            name=name,
            measured=median(ratios),
            unit="",
            goal=goal,
            how=", ".join(f"{who} {rate:.1f} {self.unit}" for who, rate in medians.items()),
            raw={
                "unit": self.unit,
                "repetitions": {who: [round(rate, 3) for rate in self.of[who]] for who in medians},
                "ratios": [round(ratio, 4) for ratio in ratios],
                "medians": {who: round(rate, 3) for who, rate in medians.items()},
                **facts,
            },
        )


def in_turns(contenders: Sequence[Contender], unit: str, repetitions: int, say: Say) -> Rates:
    rates: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for repetition in range(repetitions):
        # AB, BA, AB …: a steady drift then cancels out.
        for contender in contenders[:: 1 if repetition % 2 == 0 else -1]:
            say(f"{repetition + 1}/{repetitions}: {contender.name}")
            rates[contender.name].append(contender.rate())
    return Rates(unit, rates)
