"""States that weigh as much as a policy allows."""

from collections.abc import Mapping

from alerting.factory import Line, score

from pipeline.events import ModelRef, ShadowScore, Verdict
from pipeline.maps import map_key
from workers.alerting.core.state import LineState
from workers.alerting.policy import Candidate, LinePolicy, NotDecidableLimit, Response

_N = 100


def heavy_state(cameras: int, *, candidates: int, long: Mapping[str, int], shadow: bool = False) -> LineState:
    """Windows of 100 parts and frames, every one of them bad, for the live model and for all that is tried beside it.
    One camera sees them; the others have seen the like. long: how long the names of a camera and of a part are."""
    policy = LinePolicy(
        k=_N,
        n=_N,
        action=Response.HOLD,
        not_decidable=NotDecidableLimit(limit=_N, of_last=_N, action=Response.HOLD),
        candidates={f"candidate-{number}": Candidate(threshold=0.5) for number in range(candidates)},
    )
    line = Line(policy)
    first = _name(0, long["camera"])
    for sequence in range(2 * _N):
        verdict = Verdict.NOT_OK if sequence < _N else Verdict.NOT_DECIDABLE
        one = score(10**6 + sequence, verdict, camera=first, boot="0mws9mt8e-eej0", part=_name(sequence, long["part"]))
        found: dict[str, object] = {"map_key": map_key(one.frame_id, "0" * 64)}
        if shadow:
            found["shadow"] = ShadowScore(
                bundle="s",
                verdict=verdict,
                score=0.9,
                threshold=0.5,
                model=ModelRef(bundle="s", method="null", hash="h"),
            )
        line.see(one.model_copy(update=found))
    seen = line.state.cameras[first]
    return line.state.model_copy(update={"cameras": {_name(n, long["camera"]): seen for n in range(cameras)}})


def _name(number: int, length: int) -> str:
    return f"{number:03}".rjust(length, "x")
