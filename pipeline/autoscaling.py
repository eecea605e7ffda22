"""How many replicas the backlog in Kafka asks for. Handed to Ray Serve as `autoscaling_config.policy`.

Serve's own policy counts requests, and Andon's replicas take none: they poll. So each replica reports what it does
(`Activity`, through `record_autoscaling_stats`), Serve averages the reports over its look-back period, and `ByBacklog`
decides. Serve itself keeps to min and max replicas and to its delays. No import of ray: Serve pickles this module.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from pipeline.kafka.records import Incoming
    from pipeline.kafka.step import Step

Result = TypeVar("Result")


@dataclass(frozen=True)
class Load:
    """Of all replicas together."""

    replicas: int
    lag: float
    """Frames that wait in Kafka."""
    busy: float
    """Replicas' worth of time spent on frames: 1.5 means that one is always busy and another half of the time."""
    frames_per_s: float
    waiting: float
    """How many replicas wait for Redis or Kafka. Where most do, more of them would wait, too; one alone may have a way
    of its own that is broken, and keeps the others from nothing."""


def wanted_replicas(load: Load, *, catch_up_s: float, target_busy: float) -> float:
    """Enough for what comes in now, with room to spare, and to work the backlog off within `catch_up_s`."""
    if load.waiting > load.replicas / 2:
        return float(load.replicas)
    if load.busy <= 0:
        # Nothing was scored lately. A backlog then belongs to replicas that are just starting: wait for them.
        return float(load.replicas if load.lag >= 1 else 0)
    frames_per_replica_s = load.frames_per_s / load.busy
    backlog = load.lag / (catch_up_s * frames_per_replica_s) if frames_per_replica_s else 0.0
    return (load.busy + backlog) / target_busy


class ByBacklog:
    """`policy_function: pipeline.autoscaling:ByBacklog`, with `catch_up_s` and `target_busy` as `policy_kwargs`."""

    def __init__(self, catch_up_s: float = 60, target_busy: float = 0.7) -> None:
        if catch_up_s <= 0 or not 0 < target_busy <= 1:
            raise ValueError(f"catch_up_s ({catch_up_s}) must be above 0 and target_busy ({target_busy}) in (0, 1]")
        self._catch_up_s = catch_up_s
        self._target_busy = target_busy

    def __call__(self, context: Any) -> tuple[float, dict[str, Any]]:
        """context: Serve's AutoscalingContext. Returns how many replicas there should be, and no state."""
        load = _load(context.current_num_replicas, context.aggregated_metrics or {})
        if load is None:
            return context.target_num_replicas, {}
        wanted = wanted_replicas(load, catch_up_s=self._catch_up_s, target_busy=self._target_busy)
        # Rounded up here: Serve would take 2.01 replicas for 2 on the way down.
        return max(1, math.ceil(wanted - 1e-9)), {}


def _load(replicas: int, reports: Mapping[str, Mapping[Any, float]]) -> Load | None:
    """None where no replica has reported yet."""
    if not reports.get("lag"):
        return None

    def total(name: str) -> float:
        return sum(reports.get(name, {}).values())

    return Load(replicas, total("lag"), total("busy"), total("frames_per_s"), total("waiting"))


class Activity:
    """What one replica does with its time. `with activity.busy(): …` on any thread; overlapping ones count once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._at_work = 0
        self._busy_since_s = 0.0
        self._busy_s = 0.0
        self._told_at_s = clock()
        self._told_frames = 0

    @contextmanager
    def busy(self) -> Iterator[None]:
        with self._lock:
            if self._at_work == 0:
                self._busy_since_s = self._clock()
            self._at_work += 1
        try:
            yield
        finally:
            with self._lock:
                self._at_work -= 1
                if self._at_work == 0:
                    self._busy_s += self._clock() - self._busy_since_s

    def report(self, *, lag: int, frames: int, waiting: bool) -> dict[str, float]:
        """What `ByBacklog` wants to know, since the last report. frames: worked off since the start."""
        with self._lock:
            now_s = self._clock()
            if self._at_work:
                self._busy_s += now_s - self._busy_since_s
                self._busy_since_s = now_s
            span_s = max(now_s - self._told_at_s, 1e-6)
            told = {
                "lag": float(lag),
                "busy": min(1.0, self._busy_s / span_s),
                "frames_per_s": (frames - self._told_frames) / span_s,
                "waiting": float(waiting),
            }
            self._busy_s, self._told_at_s, self._told_frames = 0.0, now_s, frames
            return told


class Timed(Generic[Result]):
    """A `Step` whose work counts as busy. Not what it delivers, which is mostly waiting for Redis and Kafka: where they
    are slow, replicas would look as if they were at their limit, and be joined by others that make it worse."""

    def __init__(self, step: "Step[Result]", activity: Activity) -> None:
        self._step = step
        self._activity = activity

    def assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
        self._step.assigned(partitions)

    def work(self, batch: "Sequence[Incoming]") -> Result:
        with self._activity.busy():
            return self._step.work(batch)

    def deliver(self, result: Result) -> None:
        self._step.deliver(result)
