"""Cameras that send in another mode, gray or colour, than the model was trained in."""

import io
import logging

from PIL import Image

from pipeline.frames import OTHER_MODE, Mode, stored_as

log = logging.getLogger(__name__)
_MOST_REMEMBERED = 1000


class Colours:
    """Tells of each camera and model once, by the first frame. Nothing else would: its frames are scored as any."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()

    def look(self, camera_id: str, value: bytes, bundle: str, mode: Mode) -> None:
        """value: a frame of this camera that can be decoded. mode: of the model in this bundle."""
        if (camera_id, bundle) in self._seen:
            return
        if len(self._seen) >= _MOST_REMEMBERED:  # whoever sends may make up names without end
            self._seen.clear()
        self._seen.add((camera_id, bundle))
        with Image.open(io.BytesIO(value)) as image:
            stored = stored_as(image)
        if stored != mode:
            log.warning(
                "camera %r sends images stored in %s, and bundle %r %s. Train on images of this camera",
                camera_id,
                "colour" if stored == "rgb" else "gray",
                bundle,
                OTHER_MODE[mode],
            )
