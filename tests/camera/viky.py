"""Viky: virtual cameras behind a real GenTL producer, which comes with GenICam's bindings."""

import os
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import genicam

from workers.camera.config import GenicamSource
from workers.camera.sources import open_source
from workers.camera.sources.base import Image, Ready, Unreadable
from workers.camera.sources.genicam.capture import READER

VIKY = Path(genicam.__file__).with_name("viky.cti")
Found = Image | Unreadable | Ready


def camera(number: int = 0, **settings: object) -> GenicamSource:
    device = {"serial_number": str(number)}
    return GenicamSource.model_validate({"type": "genicam", "producer": VIKY, "device": device} | settings)


def images_of(source: GenicamSource) -> Iterator[Found]:
    return iter(open_source(source).images(threading.Event()))


def shots(source: GenicamSource, count: int) -> list[Image]:
    return list(islice((found for found in images_of(source) if isinstance(found, Image)), count))


def readers() -> list[int]:
    """Of this process."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat, command = (folder / "stat").read_text(), (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == os.getpid() and READER.encode() in command:
                found.append(int(folder.name))
    return found
