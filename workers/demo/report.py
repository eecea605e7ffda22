"""report/index.html: what the factory saw, as pictures."""

import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape

from pipeline.drawing import colour_scale, side_by_side
from pipeline.errors import AndonError
from pipeline.frames import FrameError, decode
from pipeline.kafka.reading import read_each
from pipeline.maps import MapStore, StoredMap
from workers.demo import charts
from workers.demo.run import Run
from workers.demo.stage import LINES, is_planted
from workers.demo.summary import Summary
from workers.demo.watch import Seen

WORST_PER_LINE = 6


def write_report(run: Run, summary: Summary, folder: Path) -> Path:
    """Draws all pictures and writes index.html. Replaces an earlier report. Returns the page's path."""
    pictures = folder / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)
    lines = []
    for line_id, recipe in LINES.items():
        seen = [one for one in run.watch.seen if one.line_id == line_id]
        histogram = f"histogram-{line_id}.svg"
        charts.histogram(seen, pictures / histogram)
        lines.append(
            {
                "line_id": line_id,
                "recipe": recipe,
                "hold": next(iter(run.watch.lines[line_id].holds), None) if line_id in run.watch.lines else None,
                "proof": run.watch.lines[line_id].proof if line_id in run.watch.lines else None,
                "histogram": histogram,
                "worst": _draw_worst(run, seen, pictures),
            }
        )
    charts.latency(run.watch.seen, run.watch.holds, run.started_at, pictures / "latency.svg")
    charts.stages(run.watch.seen, pictures / "stages.svg")
    templates = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape())
    page = folder / "index.html"
    page.write_text(
        templates.get_template("report.html").render(run=run, summary=summary, lines=lines), encoding="utf-8"
    )
    return page


def _draw_worst(run: Run, seen: Sequence[Seen], pictures: Path) -> list[dict[str, object]]:
    """The frames of highest score, as frame, heat map and overlay, all with one scale of colours."""
    store = MapStore(run.settings.redis_address, login=run.settings.redis_login)
    ranked = sorted((one for one in seen if one.score is not None), key=lambda one: one.score or 0.0, reverse=True)
    found: list[tuple[Seen, StoredMap]] = []
    for one in ranked[:WORST_PER_LINE]:
        stored = store.get(one.map_key) if one.map_key else None
        if stored is not None and stored.anomaly_map is not None:
            found.append((one, stored))
    store.close()
    if not found:
        return []
    maps = [stored.anomaly_map for _, stored in found if stored.anomaly_map is not None]
    scale = colour_scale([float(grid.min()) for grid in maps], [float(grid.max()) for grid in maps])
    drawn = []
    for rank, ((one, stored), image) in enumerate(zip(found, _full_frames(run, found), strict=True), 1):
        name = f"worst-{one.line_id}-{rank}.png"
        pixels = decode(image, "gray")
        side_by_side(pixels, stored.anomaly_map, stored.facts, scale=scale).save(pictures / name)
        drawn.append({"picture": name, "seen": one, "planted": is_planted(one.part_id)})
    return drawn


def _full_frames(run: Run, found: Sequence[tuple[Seen, StoredMap]]) -> list[bytes]:
    """Each frame's image as the camera sent it; its thumbnail, which shows the same in small, where that is gone."""
    images = [stored.thumbnail for _, stored in found]
    places = [(at.topic, at.partition, at.offset) for at in (stored.position for _, stored in found)]
    try:
        with closing(read_each(run.settings, places)) as records:
            for number, record in enumerate(records):
                if record and record.value and _is_image(record.value):
                    images[number] = record.value
    except AndonError:
        pass
    return images


def _is_image(value: bytes) -> bool:
    try:
        decode(value, "gray")
    except FrameError:
        return False
    return True
