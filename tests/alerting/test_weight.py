"""A line's state fits its topic, whatever a policy allows: a worker that can't store it leaves the line unwatched."""

from functools import cache

import pytest
from alerting.factory import Line, score
from alerting.heavy import heavy_state

from pipeline.events import Verdict
from pipeline.topics import MAX_STATE_BYTES, topics
from workers.alerting.core.state import MAX_CAMERAS, LineState
from workers.alerting.core.weight import stored

pytestmark = pytest.mark.unit

PLAIN = {"camera": 7, "part": 40}
"""Lengths of names as plants have them; the contracts allow more."""
LONGEST = {"camera": 64, "part": 128}


@cache
def heaviest() -> LineState:
    return heavy_state(MAX_CAMERAS, candidates=4, shadow=True, long=LONGEST)


def read(value: bytes) -> LineState:
    return LineState.from_json(value, "line-state[0]@1")


def test_a_light_state_is_stored_as_it_is() -> None:
    state = Line().burst().state
    assert stored(state) == (state.to_json(), ())


@pytest.mark.parametrize(
    ("cameras", "candidates"), [(MAX_CAMERAS, 0), (24, 4), (16, 4)], ids=["64 cameras", "24 with 4", "16 with 4"]
)
def test_with_usual_names_a_line_full_of_bad_parts_keeps_all_its_evidence(cameras: int, candidates: int) -> None:
    state = heavy_state(cameras, candidates=candidates, long=PLAIN)
    value, left_out = stored(state)
    assert left_out == ()
    assert read(value) == state


def test_the_heaviest_state_that_a_policy_allows_fits_and_keeps_every_live_bad_part() -> None:
    value, left_out = stored(heaviest())
    assert len(value) <= MAX_STATE_BYTES
    assert left_out[0] == "candidates"
    after = read(value)
    for name, camera in heaviest().cameras.items():
        assert after.cameras[name].parts == camera.parts, "all of them are bad"
        assert after.cameras[name].boots == camera.boots


def test_good_parts_go_before_bad_ones_and_evidence_before_the_line_itself() -> None:
    line = Line().burst()
    line.see(score(10, Verdict.OK))
    state = line.state
    sizes = [len(stored(state, limit)[0]) for limit in (10**6, len(state.to_json()) - 1, 1)]
    assert sizes == sorted(sizes, reverse=True)
    value, left_out = stored(state, len(state.to_json()) - 1)
    assert left_out == ("candidates", "good parts and frames")
    assert [part.bad for part in read(value).cameras["cam-1"].parts] == [True] * 3
    value, left_out = stored(state, 1)
    assert left_out[-1] == "evidence"
    assert (read(value).alarms, read(value).episode) == (state.alarms, state.episode)
    assert read(value).cameras["cam-1"].counted_to(score(0).boot_id) == 10


def test_the_topic_takes_what_is_stored() -> None:
    assert topics().line_state.max_message_bytes > MAX_STATE_BYTES
