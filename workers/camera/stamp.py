"""The headers of a camera's frames. What never changes is encoded and checked once, since a fast camera's worker
would otherwise spend a fifth of its time on it."""

from datetime import datetime

from pipeline import tracing
from pipeline.events import Frame, now, to_ms
from workers.camera.config import Camera
from workers.camera.sources.base import ContentType

_OWN_TO_EACH_FRAME = frozenset(
    {"frame_id", "sequence", "part_id", "captured_at", "content_type", "repeats", "traceparent"}
)


class Stamp:
    """For one camera in one boot. Raises ValidationError for names that keep no contract."""

    def __init__(self, camera: Camera, boot_id: str, sampled: float = 0.0) -> None:
        """sampled: the share of frames whose trace is sampled."""
        any_frame = Frame(
            camera_id=camera.camera_id,
            line_id=camera.line_id,
            station_id=camera.station_id,
            recipe=camera.recipe,
            boot_id=boot_id,
            sequence=0,
            part_id="any",
            captured_at=now(),
            content_type="image/png",
        )
        self._sampled = sampled
        self._prefix = any_frame.frame_id.removesuffix("0")
        self._same = [(name, value) for name, value in any_frame.to_headers() if name not in _OWN_TO_EACH_FRAME]

    def headers(
        self, sequence: int, part_id: str | None, captured_at: datetime, content_type: ContentType, repeats: int
    ) -> list[tuple[str, bytes]]:
        """As `Frame.to_headers` writes them, in another order. A frame without a part is a part of its own."""
        frame_id = f"{self._prefix}{sequence}"
        return [
            ("frame_id", frame_id.encode()),
            ("sequence", str(sequence).encode()),
            ("part_id", (part_id or frame_id).encode(errors="replace")),  # a file name need not be UTF-8
            ("captured_at", str(to_ms(captured_at)).encode()),
            ("content_type", content_type.encode()),
            ("repeats", str(repeats).encode()),
            (tracing.HEADER, tracing.root(self._sampled).encode()),
            *self._same,
        ]
