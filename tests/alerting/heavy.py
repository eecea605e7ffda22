"""States that weigh as much as a policy allows."""

from alerting.factory import Line, score

from pipeline.events import ModelRef, ShadowScore, Verdict
from pipeline.maps import map_key
from workers.alerting.core.state import LineState
from workers.alerting.policy import Candidate, LinePolicy, NotDecidableLimit, Response


def heavy_state(
    cameras: int, n: int, *, candidates: int = 0, shadow: bool = False, lengths: tuple[tuple[str, int], ...] = ()
) -> LineState:
    """Windows of `n` parts and frames, every one of them bad, for the live model and for all that is tried beside it.
    One camera sees them; the others have seen the like."""
    long = {"camera": 7, "part": 7, **dict(lengths)}
    policy = LinePolicy(
        k=n,
        n=n,
        action=Response.HOLD,
        not_decidable=NotDecidableLimit(limit=n, of_last=n, action=Response.HOLD),
        candidates={f"candidate-{number}": Candidate(threshold=0.5) for number in range(candidates)},
    )
    line = Line(policy)
    first = _name(0, long["camera"])
    for sequence in range(2 * n):
        verdict = Verdict.NOT_OK if sequence < n else Verdict.NOT_DECIDABLE
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
