"""How many replicas a backlog asks for."""

import threading
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.autoscaling import Activity, ByBacklog, Load, Timed, wanted_replicas

pytestmark = pytest.mark.unit


def wanted(replicas: int = 4, lag: float = 0, busy: float = 2, fps: float = 40, waiting: float = 0) -> float:
    return wanted_replicas(Load(replicas, lag, busy, fps, waiting), catch_up_s=60, target_busy=0.7)


def test_busy_replicas_ask_for_room_to_spare() -> None:
    assert wanted(busy=2.1) == pytest.approx(3)


def test_a_backlog_asks_for_what_works_it_off_in_time() -> None:
    # A replica does 20 frames/s, so 6,000 frames in 60 s are the work of five more.
    assert wanted(lag=6000) == pytest.approx((2 + 5) / 0.7)


def test_replicas_that_wait_for_redis_are_not_joined_by_others() -> None:
    assert wanted(lag=100_000, waiting=3) == 4


def test_one_replica_that_waits_now_and_then_holds_up_no_others() -> None:
    """A backlog grew while one of four had no way to Redis."""
    assert wanted(lag=6000, waiting=0.1) == wanted(lag=6000, waiting=1) == wanted(lag=6000)


def test_replicas_that_have_not_begun_are_waited_for() -> None:
    assert wanted(lag=100_000, busy=0, fps=0) == 4


def test_nothing_to_do_asks_for_nothing() -> None:
    assert wanted(busy=0, fps=0) == 0


@given(arriving=st.floats(1, 500), per_replica=st.floats(1, 50), replicas=st.integers(1, 30))
def test_a_steady_load_is_answered_by_the_same_number_whatever_there_is_now(
    arriving: float, per_replica: float, replicas: int
) -> None:
    needed = arriving / per_replica
    if needed < replicas:  # they keep up, so nothing waits
        assert wanted(replicas, 0, needed, arriving) == pytest.approx(needed / 0.7)
    else:  # they don't, so a backlog grows and asks for more than there are
        assert (
            wanted(replicas, (arriving - replicas * per_replica) * 30 + 1, replicas, replicas * per_replica) > replicas
        )


@dataclass
class Context:
    """The part of Serve's AutoscalingContext that the policy reads."""

    current_num_replicas: int = 2
    target_num_replicas: int = 3
    aggregated_metrics: dict[str, dict[str, float]] = field(default_factory=dict)


def reports(*replicas: dict[str, float]) -> dict[str, dict[str, float]]:
    return {name: {f"r{n}": one[name] for n, one in enumerate(replicas)} for name in replicas[0]}


def test_reports_of_all_replicas_are_added_up() -> None:
    one = {"lag": 300.0, "busy": 1.0, "frames_per_s": 10.0, "waiting": 0.0}
    policy = ByBacklog(catch_up_s=60, target_busy=0.7)
    # Two busy ones, and 600 frames in 60 s at 10 frames/s: one more; with room to spare 4.3.
    assert policy(Context(aggregated_metrics=reports(one, one))) == (5, {})


def test_without_a_report_the_number_stays() -> None:
    assert ByBacklog()(Context()) == (3, {})


def test_there_is_always_one_to_tell_of_the_backlog() -> None:
    idle = {"lag": 0.0, "busy": 0.0, "frames_per_s": 0.0, "waiting": 0.0}
    assert ByBacklog()(Context(aggregated_metrics=reports(idle))) == (1, {})


@pytest.mark.parametrize("wrong", [{"catch_up_s": 0}, {"target_busy": 0}, {"target_busy": 1.5}])
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ByBacklog(**wrong)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_overlapping_work_counts_once() -> None:
    clock = Clock()
    activity = Activity(clock)
    with activity.busy():
        clock.now_s += 1
        with activity.busy():
            clock.now_s += 1
    clock.now_s += 2
    assert activity.report(lag=7, frames=20, waiting=False) == {
        "lag": 7,
        "busy": 0.5,
        "frames_per_s": 5,
        "waiting": 0,
    }


def test_a_report_tells_of_the_time_since_the_last_also_amid_work() -> None:
    clock = Clock()
    activity = Activity(clock)
    with activity.busy():
        clock.now_s += 3
        assert activity.report(lag=0, frames=3, waiting=False)["busy"] == 1
        clock.now_s += 1
    clock.now_s += 1
    told = activity.report(lag=0, frames=9, waiting=True)
    assert told == {"lag": 0, "busy": 0.5, "frames_per_s": 3, "waiting": 1}


def test_two_threads_may_be_busy_at_once() -> None:
    activity = Activity()
    inside, leave = threading.Barrier(3), threading.Event()

    def work() -> None:
        with activity.busy():
            inside.wait(10)
            leave.wait(10)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    leave.set()
    for thread in threads:
        thread.join(10)
    assert 0 < activity.report(lag=0, frames=0, waiting=False)["busy"] <= 1


def test_what_waits_for_kafka_to_take_it_is_not_at_work() -> None:
    """A slow broker had replicas look busy all the time, and Serve started more of them against it."""
    clock = Clock()

    class Slow:
        def work(self, batch: Any) -> str:
            clock.now_s += 1
            return "result"

        def deliver(self, result: str) -> None:
            clock.now_s += 9

    activity = Activity(clock)
    step: Timed[str] = Timed(cast("Any", Slow()), activity)
    step.deliver(step.work([]))
    assert activity.report(lag=0, frames=1, waiting=False)["busy"] == pytest.approx(0.1)


def test_ray_takes_the_policy_as_the_chart_names_it() -> None:
    from ray.serve.config import AutoscalingConfig
    from ray.serve.schema import DeploymentSchema

    schema = DeploymentSchema.model_validate(
        {
            "name": "Inspector",
            "autoscaling_config": {
                "min_replicas": 1,
                "max_replicas": 4,
                "policy": {
                    "policy_function": "pipeline.autoscaling:ByBacklog",
                    "policy_kwargs": {"catch_up_s": 30, "target_busy": 0.5},
                },
            },
        }
    )
    policy = AutoscalingConfig.model_validate(schema.autoscaling_config).policy.get_policy()
    # Pickled by value, so it is a class of its own: what it decides is what counts.
    assert policy(catch_up_s=30, target_busy=0.5)(Context()) == (3, {})
