"""The scores of a line against its threshold, and what another threshold would have done."""

from __future__ import annotations

import logging
import math
from threading import Lock

from anyio import CapacityLimiter
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from pipeline.detectors.bundle import read_info
from workers.alerting.policy import MAX_WINDOW
from workers.console.desk import Desk, Options
from workers.console.pages.common import (
    Engineer,
    Form,
    Refused,
    Someone,
    TheDesk,
    clock_facts,
    in_threads,
    number,
    page,
    short,
    text,
)
from workers.console.versions import find_bundle, write_version
from workers.console.whatif import Shot, TriedThreshold, histogram, try_threshold

router = APIRouter(prefix="/model")
log = logging.getLogger(__name__)

HOURS = (1.0, 2.0, 8.0, 24.0)
DEFAULT_K_N = (3, 8)
_STOPS_SHOWN = 30
_threads = CapacityLimiter(8)
"""Each may wait for Kafka, one after the other, and so does every page that somebody loads again meanwhile."""
_trying = Lock()
"""A trial of many scores takes a second of one core; who drags asks for several."""


@router.get("")
@in_threads(_threads)
def model(
    request: Request, who: Someone, desk: TheDesk, line: str = "", hours: float = 2.0, model: str = "",
    k: int | None = None, n: int | None = None,
) -> Response:  # fmt: skip
    lines = desk.memory.lines()
    line = line or (lines[0] if lines else "")
    if line not in lines:  # never another one in its place: who has a bookmark would set the threshold of that
        return page(request, "model.html", lines=lines, line=line[:100], hours=hours, hours_offered=HOURS, chosen=None)
    history = desk.histories.of(line, _hours(hours))
    newest = {one.model_hash: one for one in history.shots}
    chosen = newest.get(model) or (history.shots[-1] if history.shots else None)
    k, n = _k_n(desk, line, k, n)
    if chosen is None:
        return page(request, "model.html", lines=lines, line=line, hours=hours, hours_offered=HOURS, chosen=None)
    shots = [one for one in history.shots if one.model_hash == chosen.model_hash]
    drawn = histogram(shots, chosen.threshold)
    bundle = find_bundle(chosen.model_hash, desk.options.bundles)
    return page(
        request,
        "model.html",
        lines=lines,
        line=line,
        hours=hours,
        hours_offered=HOURS,
        max_window=MAX_WINDOW,
        chosen=chosen,
        models=newest,
        history=history,
        histogram=drawn,
        step=f"{(drawn.high - drawn.low) / 1000:.6g}",
        live=try_threshold(shots, chosen.threshold, k, n),
        k=k,
        n=n,
        bundle=bundle,
        stops_shown=_STOPS_SHOWN,
    )


@router.get("/trial")
@in_threads(_threads)
def trial(
    who: Someone, desk: TheDesk, line: str, hours: float, model: str, threshold: float, k: int, n: int
) -> Response:
    k, n = _k_n(desk, line, k, n)
    if not math.isfinite(threshold):
        raise Refused("Not tried", "The threshold must be a number.", 400)
    shots = _shots(desk, line, hours, model)
    with _trying:
        return JSONResponse(_told(try_threshold(shots, threshold, k, n), desk.options))


@router.post("/versions")
def save(request: Request, who: Engineer, desk: TheDesk, form: Form) -> Response:
    line, model, threshold = text(form, "line"), text(form, "model"), number(form, "threshold")
    reason = text(form, "reason").strip()
    if not reason:
        raise Refused("Not saved", "Say why: the reason is kept in the new bundle.", 400)
    source = find_bundle(model, desk.options.bundles)
    if source is None:
        raise Refused("Not saved", f"The bundle of model {model} is not on this machine; set ANDON_BUNDLES.", 400)
    shots = _shots(desk, line, number(form, "hours"), model)
    recipe = shots[-1].recipe if shots else "RECIPE"
    version = write_version(source, desk.options.bundles, threshold, actor=who.name, role=who.role.value, reason=reason)
    log.info("%s wrote %s, threshold %g: %s", who.name, version.folder, threshold, reason)
    return RedirectResponse(f"/model/versions/{version.folder.name}?recipe={recipe}", 303)


@router.get("/versions/{name}")
def version(request: Request, who: Someone, desk: TheDesk, name: str, recipe: str = "RECIPE") -> Response:
    folders = {folder.name: folder for folder in desk.options.bundles.glob("*-v*")}
    if name not in folders:
        raise Refused("There is no such version", name[:100], 404)
    info = read_info(folders[name])
    return page(request, "version.html", folder=folders[name].resolve(), info=info, recipe=recipe[:64])


def _shots(desk: Desk, line: str, hours: float, model: str) -> list[Shot]:
    if line not in desk.memory.lines():
        raise Refused("There is no such line", line[:100], 404)
    return [one for one in desk.histories.of(line, _hours(hours)).shots if one.model_hash == model]


def _hours(hours: float) -> float:
    return min(HOURS, key=lambda offered: abs(offered - hours)) if math.isfinite(hours) else HOURS[0]


def _k_n(desk: Desk, line: str, k: int | None, n: int | None) -> tuple[int, int]:
    policy = desk.options.policy(line)
    own = (policy.k, policy.n) if policy else DEFAULT_K_N
    n = min(MAX_WINDOW, max(1, n if n is not None else own[1]))
    return min(n, max(1, k if k is not None else own[0])), n


def _told(tried: TriedThreshold, options: Options) -> dict[str, object]:
    clock = clock_facts(options)
    return {
        "threshold": tried.threshold,
        "judged": tried.judged,
        "not_ok": tried.not_ok,
        "share": tried.share,
        "stops": len(tried.stops),
        "shown": [
            {"camera": stop.camera_id, "at": short(stop.at, clock["zone"], clock["today"]), "frame_id": stop.frame_id}
            for stop in tried.stops[-_STOPS_SHOWN:]
        ],
    }
