"""Makes frames and images."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.stream import picture

from pipeline.events import Frame, now
from workers.camera.parcel import Owner, Parcel

BOOT = "0abc-boot"

MakeParcel = Callable[..., Parcel]


@pytest.fixture
def owner() -> Owner:
    return Owner("cam-1", "line-1", BOOT)


@pytest.fixture
def parcel() -> MakeParcel:
    """parcel(sequence, camera_id="cam-1", size=100, boot_id=BOOT)"""

    def make(sequence: int, camera_id: str = "cam-1", size: int = 100, boot_id: str = BOOT) -> Parcel:
        frame = Frame(
            camera_id=camera_id,
            line_id="line-1",
            station_id="s1",
            recipe="r1",
            boot_id=boot_id,
            sequence=sequence,
            part_id=f"part-{sequence}",
            captured_at=now(),
            content_type="image/png",
        )
        image = f"{camera_id}/{boot_id}/{sequence}".encode().ljust(size, b".")
        return Parcel(Owner(camera_id, "line-1", boot_id), sequence, frame.to_headers(), image)

    return make


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of six different PNG files."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(6):
        (folder / f"part-{number}.png").write_bytes(picture(seed=number))
    return folder
