"""What a window remembers: enough to count and to show, and no more."""

from collections.abc import Callable

import pytest
from alerting.factory import score
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import Score, Verdict
from workers.alerting.core.window import EVIDENCE_FRAMES, Window, add_frame, add_part, count_bad, evidence

pytestmark = pytest.mark.unit

N = 60
seen = st.lists(st.tuples(st.sampled_from([*Verdict, Verdict.NOT_OK]), st.integers(0, 80)), max_size=150)


@given(seen)
def test_old_references_are_dropped_and_nothing_that_is_shown_changes(shots: list[tuple[Verdict, int]]) -> None:
    parts: Window = ()
    shown: dict[str, str] = {}
    for number, (verdict, part) in enumerate(shots):
        one = score(number, verdict, part=f"p{part}")
        if verdict is Verdict.NOT_OK:
            shown[one.part_id] = one.frame_id
        parts = add_part(parts, one, N)
        bad = [entry.part_id for entry in parts if entry.bad][-EVIDENCE_FRAMES:]
        proof = evidence(parts, N)
        assert proof.frame_ids == tuple(shown[part_id] for part_id in bad)
        assert proof.map_keys == tuple(f"map:{shown[part_id]}" for part_id in bad)


@pytest.mark.parametrize(("add", "verdict"), [(add_part, Verdict.NOT_OK), (add_frame, Verdict.NOT_DECIDABLE)])
def test_only_the_newest_bad_ones_say_where_to_look(
    add: Callable[[Window, Score, int], Window], verdict: Verdict
) -> None:
    window: Window = ()
    for number in range(N):
        window = add(window, score(number, verdict), N)
    assert count_bad(window) == N
    assert sum(1 for entry in window if entry.shown_by and entry.shown_by.frame_id) == EVIDENCE_FRAMES
