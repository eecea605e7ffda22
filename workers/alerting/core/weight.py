"""What of a line's state is stored where all of it would outgrow its topic. Pure.

Only the record is lightened: the worker that stores it goes on with everything, and a successor begins with less.
Otherwise a worker could not store the state and would end, and so would each of its successors, at the worst moment.
"""

from collections.abc import Callable

from pipeline.topics import MAX_STATE_BYTES
from workers.alerting.core.state import Camera, LineState


def stored(state: LineState, limit: int = MAX_STATE_BYTES) -> tuple[bytes, tuple[str, ...]]:
    """The record's value, and what was left out of it, beginning with what matters least."""
    value = state.to_json()
    left_out: tuple[str, ...] = ()
    for name, lighten in _STEPS:
        if len(value) <= limit:
            break
        state = lighten(state)
        value, left_out = state.to_json(), (*left_out, name)
    return value, left_out


def _without_candidates(state: LineState) -> LineState:
    """What is tried stops nothing: it begins anew."""
    lighter = _each(state, lambda camera: camera.model_copy(update={"trials": {}}))
    return lighter.model_copy(update={"outbox": lighter.outbox.model_copy(update={"shadows": ()})})


def _without_good_ones(state: LineState) -> LineState:
    """The bad ones then stay in their windows for longer, so that a limit is reached early rather than late."""

    def lighter(camera: Camera) -> Camera:
        bad = {
            "parts": tuple(seen for seen in camera.parts if seen.bad),
            "frames": tuple(seen for seen in camera.frames if seen.bad),
        }
        return camera.model_copy(update=bad)

    return _each(state, lighter)


def _without_evidence(state: LineState) -> LineState:
    return _each(state, Camera.forget_evidence)


_STEPS: tuple[tuple[str, Callable[[LineState], LineState]], ...] = (
    ("candidates", _without_candidates),
    ("good parts and frames", _without_good_ones),
    ("evidence", _without_evidence),
)


def _each(state: LineState, lighter: Callable[[Camera], Camera]) -> LineState:
    return state.model_copy(update={"cameras": {name: lighter(camera) for name, camera in state.cameras.items()}})
