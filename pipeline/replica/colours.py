"""Cameras that send in another mode, gray or colour, than the model was trained in."""

import logging

from pipeline.frames import OTHER_MODE, Mode

log = logging.getLogger(__name__)
_MOST_REMEMBERED = 1000


class Colours:
    """Tells of each camera and model once. Nothing else would: its frames are scored as any."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def look(self, camera_id: str, stored: Mode, bundle: str, mode: Mode) -> None:
        """stored: as a frame of this camera is. mode: of the model in this bundle."""
        if stored != mode and (camera_id, bundle) not in self._told:
            if len(self._told) >= _MOST_REMEMBERED:  # whoever sends may make up names without end
                self._told.clear()
            self._told.add((camera_id, bundle))
            log.warning(
                "camera %r sends images stored in %s, and bundle %r %s. Set it back, or train on its images",
                camera_id,
                "colour" if stored == "rgb" else "gray",
                bundle,
                OTHER_MODE[mode],
            )
