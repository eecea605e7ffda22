"""What the spool remembers beside the frames: how far Kafka has acknowledged, and every boot's tally."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import AndonError
from pipeline.events import BootEnd
from pipeline.files.durable import write_whole
from workers.camera.ledger import Tally
from workers.camera.parcel import Owner

log = logging.getLogger(__name__)

_FILE = "state.json"


class NewerSpoolError(AndonError):
    """A later Andon left frames here. Read as damage, they would be deleted."""


class Position(NamedTuple):
    """Everything before it has been acknowledged."""

    segment: int = 0
    offset: int = 0


class _Boot(BaseModel):
    camera_id: str
    line_id: str
    boot_id: str
    captured: int
    published: int
    dropped: dict[str, int]
    end: BootEnd


class _State(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    position: Position = Position()
    boots: list[_Boot] = Field(default_factory=list)


def save_state(folder: Path, position: Position, tallies: Mapping[Owner, Tally]) -> None:
    """Replaces the file as a whole: a power cut leaves the old state or the new one. Raises OSError."""
    boots = [
        _Boot(
            **owner._asdict(),
            captured=tally.captured,
            published=tally.published,
            dropped=dict(tally.dropped),
            end=tally.end,
        )
        for owner, tally in tallies.items()
    ]
    write_whole(folder / _FILE, _State(position=position, boots=boots).model_dump_json())


def load_state(folder: Path) -> tuple[Position, dict[Owner, Tally]]:
    """Tallies without what waited: the segments tell that. A damaged file is set aside, never a reason to stand
    still: the frames in the segments go out all the same. Raises NewerSpoolError."""
    path = folder / _FILE
    try:
        state = _State.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Position(), {}
    except ValidationError as error:
        version = next((one["input"] for one in error.errors() if one["loc"] == ("version",)), None)
        if isinstance(version, int) and version > 1:
            raise NewerSpoolError(
                f"{path} is of version {version}, which a newer Andon wrote: run that one until its frames are sent, "
                "or give this worker another spool folder"
            ) from error
        log.error("%s is damaged and was set aside; the counts of former boots start from the spool: %s", path, error)
        path.replace(path.with_suffix(".damaged"))
        return Position(), {}
    return state.position, {
        Owner(boot.camera_id, boot.line_id, boot.boot_id): Tally(
            captured=boot.captured, published=boot.published, dropped=boot.dropped, end=boot.end
        )
        for boot in state.boots
    }
