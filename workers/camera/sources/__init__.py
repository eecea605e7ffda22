"""Where images come from. One file per kind of source."""

from importlib.util import find_spec

from pipeline.extras import install
from workers.camera.config import FolderSource, GenicamSource, Source
from workers.camera.sources.base import ImageSource, SourceError
from workers.camera.sources.folder import FolderReplay
from workers.camera.sources.genicam.capture import GenicamCapture


def open_source(config: Source) -> ImageSource:
    """Touches neither disk nor network yet; the first image does. Raises SourceError for a missing extra."""
    if isinstance(config, FolderSource):
        return FolderReplay(config)
    if isinstance(config, GenicamSource):
        if find_spec("harvesters") is None:  # another process will import it
            raise SourceError(f"GenICam sources need harvesters; {install('genicam')}")
        return GenicamCapture(config)
    # Here, because PyAV is an extra that most camera boxes do without.
    try:
        from workers.camera.sources.video import VideoCapture
    except ImportError as error:
        raise SourceError(f"video sources need PyAV; {install('video')} ({error})") from error
    return VideoCapture(config)
