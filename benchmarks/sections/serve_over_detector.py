"""The same through the real thing: a Ray Serve replica, with Ray's own processes beside it on the same cores.

Ray gives a replica of one CPU one torch thread, so the bare detector gets one, too.
"""

import json
import time
import urllib.request

from benchmarks.bare_batches import torch_threads
from benchmarks.contest import Contender, Say, in_turns
from benchmarks.feed import feed
from benchmarks.findings import Finding
from benchmarks.pictures import solar_cells
from benchmarks.replica import POLL_SIZE
from benchmarks.sections.pipeline_over_detector import BUNDLE, GOAL, RECIPE, bundle_named, detector_rate
from benchmarks.stage import Stage, environment
from benchmarks.stopwatch import rate_after_first_batch
from pipeline.events import Score, to_ms
from pipeline.kafka.reading import read_to_end
from pipeline.replica.recipes import Recipe, load_catalog
from pipeline.settings import Settings
from workers.local.inference import Inference

_LIMIT_S = 300.0
_REPLICA_CPUS = 1


def serve_over_detector(stage: Stage, say: Say) -> list[Finding]:
    pictures = solar_cells(stage.folder, 64)
    recipe = Recipe(bundle=BUNDLE, cameras=("*",))
    detector = load_catalog({RECIPE: recipe}).recipes[RECIPE].detector
    frames = stage.sized(8 * POLL_SIZE, 5 * POLL_SIZE)
    changes = {
        "ray_actor_options": {"num_cpus": _REPLICA_CPUS},
        "user_config": {"recipes": {RECIPE: recipe.model_dump(mode="json")}, "max_batch": POLL_SIZE},
    }
    with stage.topics() as settings:
        say("starting Ray Serve")
        folder = stage.folder / "serve"
        with (
            torch_threads(_REPLICA_CPUS),
            Inference(folder, stage.folder / "serve.log", environment(settings), changes) as inference,
        ):
            served = _Served(settings, inference, pictures, frames)
            say("first pass of both")
            served.rate()
            detector_rate(detector, pictures, POLL_SIZE)
            replica = Contender("Serve replica", served.rate)
            bare = Contender("detector alone", lambda: detector_rate(detector, pictures, frames))
            rates = in_turns((replica, bare), "frames/s", stage.sized(7, 2), say)
    facts = {"frames": frames, "batch": POLL_SIZE, "bundle": bundle_named(), "torch_threads": _REPLICA_CPUS}
    return [rates.ratio("serve_over_detector", replica, bare, GOAL, **facts)]


class _Served:
    """Frames for a replica that runs all the time."""

    def __init__(self, settings: Settings, inference: Inference, pictures: list[bytes], frames: int) -> None:
        self._settings = settings
        self._inference = inference
        self._pictures = pictures
        self._frames = frames
        self._rounds = 0

    def rate(self) -> float:
        """Frames/s between the first and the last batch that was scored after all frames had been sent."""
        self._rounds += 1
        boot_id = f"b{self._rounds}"
        feed(self._settings, self._pictures, self._frames, RECIPE, boot_id)
        fed_ms = time.time() * 1000
        self._await_records(self._rounds * self._frames)
        own = [to_ms(score.scored_at) for score in self._scores() if score.boot_id == boot_id]
        return rate_after_first_batch(at_ms for at_ms in own if at_ms > fed_ms)

    def _scores(self) -> list[Score]:
        records = read_to_end(self._settings, [self._settings.topics.scores.name])
        return [Score.from_json(record.value) for record in records]

    def _await_records(self, wanted: int) -> None:
        deadline = time.monotonic() + _LIMIT_S
        done = 0
        while done < wanted:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the replica scored {done} of {wanted} frames in {_LIMIT_S:g} s")
            time.sleep(0.5)
            with urllib.request.urlopen(f"{self._inference.url}/healthz", timeout=10) as answer:
                done = json.load(answer)["records"]
