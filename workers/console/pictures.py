"""Pictures for the page: thumbnail and heat map from Redis, the whole frame from Kafka."""

from __future__ import annotations

import io
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from threading import BoundedSemaphore, Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.drawing import colour_scale, heat
from pipeline.events import KafkaPosition
from pipeline.frames import MAX_FRAME_PIXELS
from pipeline.kafka.reading import read_frame
from pipeline.maps import MapStore, MapStoreError, StoredMap
from pipeline.settings import Settings
from pipeline.topics import MAX_FRAME_BYTES

_KAFKA_AT_ONCE = 4
_REST_S = 5.0
_MODELS = 64
_MAPS_PER_MODEL = 300
_FLOOR = 0.35
"""Of the way from the usual lowest to the usual highest value: what lies below is left clear."""


class Scales:
    """What counts as hot, by model: each map alone would show its own noise as hot. Learnt from the maps that were
    looked at last. Thread-safe."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, deque[tuple[float, float]]] = OrderedDict()
        self._lock = Lock()

    def scale(self, model: str, grid: NDArray[np.float32]) -> tuple[float, float]:
        """(clear at or below, full at or above), with this map counted in."""
        with self._lock:
            seen = self._seen.setdefault(model, deque(maxlen=_MAPS_PER_MODEL))
            seen.append((float(grid.min()), float(grid.max())))
            self._seen.move_to_end(model)
            while len(self._seen) > _MODELS:
                self._seen.popitem(last=False)
            lows, highs = zip(*seen, strict=True)
            low, full = colour_scale(lows, highs)
            return low + _FLOOR * (median(highs) - low), full


class Pictures:
    def __init__(self, settings: Settings, maps: MapStore) -> None:
        self._settings = settings
        self._maps = maps
        self._scales = Scales()
        self._reading = BoundedSemaphore(_KAFKA_AT_ONCE)
        self._rests_until_s = 0.0

    def stored(self, key: str) -> StoredMap | None:
        """None once expired. Raises MapStoreError."""
        with self._asking():
            return self._maps.get(key)

    def keys_of(self, frame_id: str) -> list[str]:
        with self._asking():
            return self._maps.keys_of(frame_id)

    def thumbnail(self, key: str) -> bytes | None:
        """JPEG."""
        stored = self.stored(key)
        return stored.thumbnail if stored else None

    def heat(self, key: str) -> bytes | None:
        """PNG of the shape of its frame: the hotter, the less transparent."""
        stored = self.stored(key)
        if stored is None or stored.anomaly_map is None:
            return None
        grid = stored.anomaly_map
        low, high = self._scales.scale(key.rsplit(":", 1)[-1], grid)
        return heat_png(grid, low, high, _size_over(grid, stored.thumbnail))

    def whole(self, at: KafkaPosition, frame_id: str) -> tuple[bytes, str] | None:
        """The frame as the camera sent it, with its content type; None once Kafka has it no longer, or where it is no
        picture. Raises KafkaUnavailableError."""
        with self._reading:
            record = read_frame(self._settings, at, frame_id)
        return as_picture(record.value) if record else None

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Where Redis hangs, one wait for its time-out tells as much as hundreds."""
        if time.monotonic() < self._rests_until_s:
            raise MapStoreError(f"Redis did not answer, and is asked again within {_REST_S:g} s")
        try:
            yield
        except MapStoreError:
            self._rests_until_s = time.monotonic() + _REST_S
            raise


def heat_png(grid: NDArray[np.float32], low: float, high: float, size: tuple[int, int]) -> bytes:
    """`size`: width and height."""
    colours = heat(grid, size, low, high)
    span = high - low or 1.0
    opaque = Image.fromarray((np.clip((grid - low) / span, 0, 1) * 255).astype(np.uint8))
    colours.putalpha(opaque.resize(size, Image.Resampling.BILINEAR))
    out = io.BytesIO()
    colours.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _size_over(grid: NDArray[np.float32], thumbnail: bytes) -> tuple[int, int]:
    """Width and height: the model's own grid where that is in proportion, since it is small. A browser lays one over
    the other by their shapes: a square map on a long frame would mark a place beside the damage, or none."""
    rows, columns = grid.shape
    try:
        with Image.open(io.BytesIO(thumbnail), formats=("JPEG",)) as image:
            width, height = image.size
    except OSError:
        return columns, rows
    return (columns, rows) if columns * height == rows * width else (width, height)


def as_picture(value: bytes | None) -> tuple[bytes, str] | None:
    """Bytes and content type, by what they are and not by what they were called. The header is read, no pixel is."""
    if not value or len(value) > MAX_FRAME_BYTES:
        return None
    try:
        with Image.open(io.BytesIO(value), formats=("PNG", "JPEG")) as image:
            width, height = image.size
            kind = image.format
    except Exception:  # Pillow's decoders raise what they like on hostile bytes
        return None
    if width * height > MAX_FRAME_PIXELS:
        return None
    return value, "image/png" if kind == "PNG" else "image/jpeg"
