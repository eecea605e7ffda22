"""The Ray Serve application. `serve deploy deploy/serve/local.yaml` runs this.

Each replica consumes frames from Kafka itself, on one poll thread; nothing travels through Serve's router but
single images that a person uploads. Recipes are the deployment's user_config: a change swaps the models between two
batches, without a restart.
"""

import asyncio
import hmac
import logging
import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ray import serve
from ray.serve import metrics

from pipeline import apart
from pipeline.autoscaling import Activity, Timed
from pipeline.errors import AndonError
from pipeline.events.contract import sentence
from pipeline.frames import FrameError, pixels_of
from pipeline.groups import INSPECTION
from pipeline.kafka.consumer import ConsumerLoop
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.step import ConsumerOptions, LoopState
from pipeline.kafka.waiting import await_topics
from pipeline.maps import MapStore
from pipeline.replica.deaths import Deaths
from pipeline.replica.inspection import BATCH_S, Inspection
from pipeline.replica.labels import Labels
from pipeline.replica.recipes import Catalog, Recipe, load_catalog
from pipeline.replica.shadow import Shadows
from pipeline.replica.single import SingleScore, score_image
from pipeline.replica.spans import score_spans
from pipeline.scoring import Scored, Scorer
from pipeline.settings import Settings, read_settings
from pipeline.topics import MAX_FRAME_BYTES
from pipeline.tracing import Tracer, open_tracer

log = logging.getLogger("ray.serve")

_UPLOADS_AT_ONCE = 4
"""Images of people, beside the stream and the probes of a balancer: both come first."""
_UPLOAD_S = 30.0
_SLOW_LOAD_S = 60.0
"""Bundles that are not in memory after so long are told of. A file server that is away may never answer, nor refuse."""


class ServingConfig(BaseModel):
    """The deployment's user_config."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipes: dict[str, Recipe] = Field(min_length=1)
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:0 …")
    max_batch: int = Field(default=16, ge=1, le=1024, description="Frames a poll.")
    map_ttl_s: int = Field(default=3600, ge=1, description="How long maps and thumbnails stay in Redis.")
    lossless_maps: bool = Field(default=False, description="Maps in half precision instead of 8-bit; not to the bit.")
    shadow_within_ms: int = Field(
        default=250, ge=1, le=10_000, description="The longest that a batch waits for its shadow bundle."
    )
    stuck_after_s: float = Field(
        default=60,
        ge=30,
        description="A poll thread that stands still so long is ill. A well one may for 15 s while Kafka is slow.",
    )


class _Meters:
    """What Serve exports to Prometheus, tagged with deployment and replica by Ray; and spans, where they are wanted."""

    def __init__(self, tracer: Tracer | None) -> None:
        self._tracer = tracer
        self._deaths = Deaths()
        self._cameras = Labels()
        self._frames = metrics.Counter("andon_frames_scored", "Frames scored, by verdict.", ("camera", "verdict"))  # type: ignore[arg-type]
        self._shadows = metrics.Counter(
            "andon_frames_shadowed",
            "Frames of recipes with a shadow bundle, by its verdict or why it did not look.",
            ("recipe", "outcome"),  # type: ignore[arg-type]
        )
        self._dead = metrics.Counter("andon_frames_dead", "Frames dead-lettered, by reason.", ("reason",))
        self._lag = metrics.Gauge("andon_frames_lag", "Frames of this replica's partitions that wait in Kafka.")
        self._deleted = metrics.Gauge(
            "andon_frames_deleted_unread", "Frames that Kafka deleted before this replica read them, since its start."
        )
        self._model = metrics.Gauge(
            "andon_recipe_model",
            "1 for the model by which this replica judges a recipe's frames, 0 for one that it had before.",
            ("recipe", "model"),  # type: ignore[arg-type]
        )
        self._models: set[tuple[str, str]] = set()
        self._refused = metrics.Gauge(
            "andon_configuration_refused", "1 while this replica goes on with its former user_config."
        )
        self._waiting = metrics.Gauge("andon_replica_waiting", "1 while this replica waits for Redis or Kafka.")
        self._stage = metrics.Histogram(
            "andon_stage_ms",
            "Milliseconds a frame spends in a stage; infer, shadow and deliver are of the whole batch.",
            # Up to minutes: so long a backlog makes frames wait in `queue`.
            [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 60_000, 600_000],
            ("stage",),
        )

    def delivered(self, scored: Scored, deliver_s: float) -> None:
        for score in scored.scores:
            self._frames.inc(tags={"camera": self._cameras.of(score.camera_id), "verdict": score.verdict.value})
            if score.shadow is not None:
                outcome = score.shadow.verdict or score.shadow.skipped
                self._shadows.inc(tags={"recipe": score.recipe, "outcome": str(outcome)})
            for stage, ms in score.timings_ms.items():
                self._stage.observe(ms, {"stage": stage})
        for dead in scored.dead:
            self._dead.inc(tags={"reason": dead.reason.value})
        self._deaths.tell(scored.dead)
        self._stage.observe(deliver_s * 1000, {"stage": "deliver"})
        if self._tracer:
            score_spans(self._tracer, scored)

    def standing(self, loop: LoopState, catalog: Catalog, *, refused: bool) -> None:
        self._lag.set(sum(loop.lag.values()))
        self._waiting.set(loop.waiting_for is not None)
        self._deleted.set(loop.deleted_unread)
        self._refused.set(refused)
        now = {(name, loaded.model.hash) for name, loaded in catalog.recipes.items()}
        self._models |= now
        for recipe, model in self._models:  # Ray goes on telling what was set last
            self._model.set((recipe, model) in now, {"recipe": recipe, "model": model})


def _authorise(request: Request) -> None:
    # Above the class: `serve.ingress` copies the routes with the globals that stand by then.
    token = os.environ.get("ANDON_HTTP_TOKEN")
    given = request.headers.get("authorization", "")
    if token and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        raise HTTPException(401, "wrong or missing bearer token")


http = FastAPI(title="Andon", openapi_url=None)


@serve.deployment(
    name="Inspector",
    num_replicas=1,
    health_check_period_s=5,
    health_check_timeout_s=15,
    graceful_shutdown_timeout_s=40,
    graceful_shutdown_wait_loop_s=0.5,
    max_ongoing_requests=16,
)
@serve.ingress(http)
class Inspector:
    """One replica: a poll thread that scores frames, and an HTTP door for single images."""

    def __init__(self) -> None:
        self._settings: Settings = read_settings()
        self._catalog = Catalog({})
        self._config: ServingConfig | None = None
        self._refused: str | None = None
        """Why the newest configuration was not taken."""
        self._taking: asyncio.Task[None] | None = None
        """Of the newest configuration."""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: ConsumerLoop[Scored] | None = None
        self._store: MapStore | None = None
        self._failure: BaseException | None = None
        self._uploads = 0
        self._uploaded = ThreadPoolExecutor(1, "upload")
        """One after the other, also where who asked hung up: each of 12 megapixels takes 2 to 6 GB at work."""
        self._activity = Activity()
        self._tracer = open_tracer("andon-inspection")
        self._meters = _Meters(self._tracer)
        self._shadows = Shadows(behind=self._is_behind)

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Called with the user_config before the first request, and at every change of it. Raises what is wrong
        with a configuration or a bundle; a replica that runs goes on with what it had, and tells what it refused.

        One that runs doesn't wait for bundles that take minutes: until this returns, Serve looks at nothing of this
        replica, sends it no request, and hands it no newer configuration either."""
        taking = self._taking = asyncio.ensure_future(self._take(user_config))
        while not (await asyncio.wait([taking], timeout=_SLOW_LOAD_S))[0]:
            if self._config is not None and self._thread is None:  # it waits for Kafka, which tells of itself
                continue
            told = (
                f"not taken yet: its bundles have been loading for over {_SLOW_LOAD_S:g} s; does their storage answer?"
            )
            if self._thread is not None:
                self._refused = told
                log.error("this replica goes on with its former configuration, the new one is %s", told)
                return
            log.warning("this replica's configuration is %s", told)
        await taking

    async def _take(self, user_config: Mapping[str, Any]) -> None:
        try:
            config = ServingConfig.model_validate(user_config)
            # Loading takes seconds; meanwhile the poll thread goes on with the old models.
            before = self._catalog if self._config and self._config.device == config.device else None
            load = partial(load_catalog, config.recipes, config.device, before)
            catalog = await asyncio.wrap_future(apart.begin(load, "bundles"))
        except Exception as error:  # torch, an engine or a file system may raise anything
            told = sentence(error) if isinstance(error, ValidationError) else str(error)
            if self._thread is None:
                if isinstance(error, ValidationError):  # Serve's status would hold pages of it
                    raise AndonError(f"this user_config can't be taken: {told}") from None
                raise
            if self._taking is not asyncio.current_task():  # a newer one came meanwhile
                return
            # Serve would end this replica, and what it starts in its place can't load it either: nobody would score.
            self._refused = told or type(error).__name__
            log.error(
                "this replica goes on with its former configuration, for it can't take the new one: %s", self._refused
            )
            return
        if self._taking is not asyncio.current_task():
            return
        self._catalog, self._config, self._refused = catalog, config, None
        self._shadows.within_s = config.shadow_within_ms / 1000
        if self._thread is None:
            topics = self._settings.topics
            # Its own alone: a replica's Kafka user need not see the others.
            own = (topics.frames, topics.frames_dead, topics.scores)
            if await asyncio.to_thread(await_topics, self._settings, own, self._stop):
                self._start(config)
        elif self._loop and self._store:
            self._loop.resize(config.max_batch)
            self._store.ttl_s, self._store.half_precision = config.map_ttl_s, config.lossless_maps

    def _start(self, config: ServingConfig) -> None:
        store = MapStore(
            self._settings.redis_address,
            login=self._settings.redis_login,
            ttl_s=config.map_ttl_s,
            half_precision=config.lossless_maps,
        )
        publisher = Publisher(self._settings, INSPECTION)
        topics = self._settings.topics
        pool = ThreadPoolExecutor(os.cpu_count() or 2, "decode")
        scorer = Scorer(pool, store.expires_at, shadows=self._shadows)
        inspection = Inspection(scorer, lambda: self._catalog, store, publisher, topics, self._meters)
        options = ConsumerOptions(
            self._settings.group(INSPECTION),
            (topics.frames.name,),
            max_batch=config.max_batch,
            batch_within_s=BATCH_S,
            weigh=lambda record: pixels_of(record.value),
            overlap=True,
        )
        loop = ConsumerLoop(self._settings, options, Timed(inspection, self._activity), self._stop)

        def run() -> None:
            with ExitStack() as closing:  # each, whatever the others raise
                if self._tracer:
                    closing.callback(self._tracer.close)
                closing.callback(store.close)
                closing.callback(publisher.close)
                closing.callback(pool.shutdown)
                try:
                    loop.run()
                except BaseException as error:
                    log.exception("the poll thread died")
                    self._failure = error

        self._loop, self._store = loop, store
        self._thread = threading.Thread(target=run, name="poll", daemon=True)
        self._thread.start()

    def _is_behind(self) -> bool:
        """More waits in Kafka than one batch takes, or a delivery can't get through."""
        loop, config = self._loop, self._config
        if loop is None or config is None:
            return False
        state = loop.state
        return sum(state.lag.values()) > config.max_batch or state.waiting_for is not None

    def check_health(self) -> None:
        """Raises when nothing was configured, or the poll thread is dead or stands still; Serve then replaces this
        replica."""
        if self._config is None:  # Serve calls no `reconfigure` then, and takes this replica for a running one
            raise RuntimeError("the deployment has no user_config: without recipes no frame is scored")
        if self._thread is None or self._loop is None:
            return
        state = self._loop.state
        self._meters.standing(state, self._catalog, refused=self._refused is not None)
        if not self._thread.is_alive():
            raise RuntimeError(f"the poll thread is dead: {self._failure}")
        still_s = time.monotonic() - state.last_turn_monotonic_s
        if still_s > self._config.stuck_after_s:
            raise RuntimeError(f"the poll thread has stood still for {still_s:.0f} s")

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Called by Serve several times a look-back period; read by `pipeline.autoscaling.ByBacklog`."""
        state = self._loop.state if self._loop else None
        if state is None:
            return self._activity.report(lag=0, frames=0, waiting=False)
        lag, waiting = sum(state.lag.values()), state.waiting_for is not None
        return self._activity.report(lag=lag, frames=state.records, waiting=waiting)

    async def __del__(self) -> None:
        """Draining: the batch at work is delivered and committed, then the group is left."""
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 30)

    @http.get("/healthz")
    @http.head("/healthz")  # as some balancers and probes ask
    async def healthz(self) -> dict[str, Any]:
        """200 when frames are taken, or would be but for what `waiting_for` names; 503 with the reason otherwise."""
        try:
            self.check_health()
        except RuntimeError as error:
            raise HTTPException(503, str(error)) from error
        state = self._loop.state if self._loop else None
        told_at_s = state.lag_told_at_s if state else None
        return {
            "pid": os.getpid(),
            "recipes": {name: loaded.model.model_dump() for name, loaded in self._catalog.recipes.items()},
            "shadows": {
                name: loaded.shadow.model.model_dump() if loaded.shadow.model else {"fault": loaded.shadow.fault}
                for name, loaded in self._catalog.recipes.items()
                if loaded.shadow
            },
            "refused": self._refused,
            "lag": sum(state.lag.values()) if state and told_at_s is not None else None,
            "lag_age_s": round(time.monotonic() - told_at_s, 1) if told_at_s is not None else None,
            "records": state.records if state else 0,
            "waiting_for": state.waiting_for if state else "Kafka, and its topics",
        }

    @http.post("/score/{recipe}")
    async def score(self, recipe: str, request: Request) -> SingleScore:
        """Scores the PNG or JPEG in the body, ad hoc: nothing is stored, no event is sent.

        404 for an unknown recipe, 408 for a body that does not come, 413 for too large a one, 422 for what can't be
        decoded, 503 while others upload. Where ANDON_HTTP_TOKEN is set, the request must carry it as a bearer token.
        """
        _authorise(request)
        if self._uploads >= _UPLOADS_AT_ONCE:
            raise HTTPException(503, "other images are being scored; try again in a moment", {"Retry-After": "1"})
        self._uploads += 1
        try:
            return await self._score(recipe, request)
        finally:
            self._uploads -= 1

    async def _score(self, recipe: str, request: Request) -> SingleScore:
        loaded = self._catalog.recipes.get(recipe)
        if loaded is None:
            raise HTTPException(404, f"no recipe {recipe!r}; there are: {', '.join(sorted(self._catalog.recipes))}")
        body = bytearray()
        try:
            async with asyncio.timeout(_UPLOAD_S):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > MAX_FRAME_BYTES:
                        raise HTTPException(413, f"more than {MAX_FRAME_BYTES} bytes")
        except TimeoutError as error:
            raise HTTPException(408, f"the image did not come within {_UPLOAD_S:g} s") from error
        try:
            return await asyncio.get_running_loop().run_in_executor(self._uploaded, score_image, bytes(body), loaded)
        except FrameError as error:
            raise HTTPException(422, f"{error.reason}: {error}") from error


app = Inspector.bind()  # type: ignore[attr-defined]
