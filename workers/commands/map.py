"""`andon map`: draw a frame with its heat map."""

import io
from pathlib import Path
from typing import Annotated

import typer

from workers.commands.places import ready_file


def map_command(
    frame_id: Annotated[str, typer.Argument(help="Camera, boot and sequence, as in scores and alarms.")],
    out: Annotated[Path, typer.Option(help="PNG file to write, whatever its ending.")] = Path("map.png"),
    opacity: Annotated[float, typer.Option(min=0, max=1, help="Of the heat map over the frame.")] = 0.5,
) -> None:
    """Draw a frame beside its heat map, from the anomaly map that the replica stored in Redis.

    The frame comes from Kafka in full size as long as it is kept there, else from the stored thumbnail.
    """
    from pipeline.drawing import side_by_side
    from pipeline.errors import AndonError
    from pipeline.files.durable import write_or_remove
    from pipeline.frames import FrameError, decode
    from pipeline.kafka.reading import read_frame
    from pipeline.maps import MapStore
    from pipeline.settings import read_settings

    ready_file(out)
    settings = read_settings()
    store = MapStore(settings.redis_address, login=settings.redis_login)
    keys = store.keys_of(frame_id)
    stored = store.get(keys[-1]) if keys else None
    if stored is None:
        raise AndonError(
            f"no map of frame {frame_id!r} is stored at Redis: it has expired, Redis has made room for newer ones "
            "or was restarted, or the id is wrong"
        )
    value: bytes | None = stored.thumbnail
    try:
        record = read_frame(settings, stored.position, frame_id)
        value = record.value if record else value
    except AndonError as error:
        typer.echo(f"drawing the thumbnail: {error}", err=True)
    try:
        pixels = decode(value, "rgb")
    except FrameError:
        pixels = decode(stored.thumbnail, "rgb")
    picture = io.BytesIO()
    side_by_side(pixels, stored.anomaly_map, stored.facts, opacity).save(picture, "PNG")
    write_or_remove(out, picture.getvalue())
    score = stored.facts.get("score")
    told = f"score {float(score):.4g}" if score else "no score"
    typer.echo(f"{out}: {stored.facts.get('verdict')}, {told}")
