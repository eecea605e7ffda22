"""The configuration file of a camera worker."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.events import Name
from pipeline.files.config import read_config
from workers.camera.buffer import WhenFull

MIB = 1024 * 1024

Encoding = Literal["jpeg", "png"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FolderSource(_Part):
    """Replays the images of a folder, byte for byte."""

    type: Literal["folder"]
    path: Path
    """Relative to where the worker is started."""
    fps: float | None = Field(default=None, gt=0, le=10_000)
    """As fast as they are taken, where none is given."""
    loop: bool = False
    """Begins anew at the end, for ever."""
    shuffle_seed: int | None = None
    """The same seed gives the same order. Alphabetical where none is given."""
    limit: int | None = Field(default=None, ge=1)
    """Ends after so many frames."""


class VideoSource(_Part):
    """A video file or a live stream, re-encoded frame by frame."""

    type: Literal["video"]
    url: str = Field(min_length=1)
    """rtsp://…, http://…, or a path to a file. A login in the query: ?user={username}&pwd={password}."""
    login: Path | None = None
    """Folder with the files `username` and `password`, so that they stand in no configuration."""
    fps: float | None = Field(default=None, gt=0, le=10_000)
    """At most so many frames a second; a live stream's others are passed over. A file plays at its own rate."""
    encode: Encoding = "jpeg"
    quality: int = Field(default=95, ge=1, le=100)
    """Of JPEG."""
    open_timeout_s: float = Field(default=10, gt=0, le=120)
    read_timeout_s: float = Field(default=5, gt=0, le=120)

    @model_validator(mode="after")
    def _only_a_server_asks_for_a_login(self) -> Self:
        if self.login and "://" not in self.url:
            raise ValueError("login needs a url such as rtsp://…; a file asks for none")
        if ("{username}" in self.url) != ("{password}" in self.url):
            raise ValueError("a url that says where the login goes says so of both, {username} and {password}")
        return self


Feature = bool | int | Annotated[float, Field(allow_inf_nan=False)] | str


class GenicamDevice(_Part):
    """Which of the cameras that the producer finds. Nothing: the only one."""

    serial_number: str | None = None
    user_defined_name: str | None = None
    id: str | None = None
    model: str | None = None


class GenicamSource(_Part):
    """An industrial camera (GigE Vision, USB3 Vision, …), through the GenTL producer of its maker."""

    type: Literal["genicam"]
    producer: Path | None = None
    """The maker's .cti file. All of those in GENICAM_GENTL64_PATH, where none is named."""
    device: GenicamDevice = GenicamDevice()
    features: dict[str, Feature] | tuple[dict[str, Feature], ...] = {}
    """What is set in the camera before it starts, in this order: `PixelFormat: Mono8`, `TriggerMode: On`. A command is
    executed, whatever its value. A list of such tables where one feature has to be set twice, as selectors are."""
    fps: float | None = Field(default=None, gt=0, le=10_000)
    """At most so many frames a second; others are passed over."""
    encode: Encoding = "jpeg"
    quality: int = Field(default=95, ge=1, le=100)
    """Of JPEG."""
    open_timeout_s: float = Field(default=30, gt=0, le=120)
    read_timeout_s: float | None = Field(default=None, gt=0, le=86_400)
    """Without a picture for so long the camera is opened anew. Never, where none is given: a triggered camera waits for
    its part."""

    @property
    def feature_list(self) -> list[tuple[str, Feature]]:
        tables = self.features if isinstance(self.features, tuple) else (self.features,)
        return [feature for table in tables for feature in table.items()]

    @model_validator(mode="after")
    def _passing_over_is_no_silence(self) -> Self:
        if self.fps and self.read_timeout_s and self.read_timeout_s <= 1 / self.fps:
            raise ValueError("read_timeout_s must be longer than the time between two frames, 1 / fps")
        return self


Source = Annotated[FolderSource | VideoSource | GenicamSource, Field(discriminator="type")]


class Camera(_Part):
    camera_id: Name
    line_id: Name
    station_id: Name
    recipe: Name
    part_id: Literal["frame", "file"] = "frame"
    """`frame`: every frame shows another part, named like the frame. `file`: the part is named like the replayed file
    (with its folder below `path`) and the round of the loop, so that several cameras (or labels) can speak of the same
    part."""
    source: Source

    @model_validator(mode="after")
    def _files_have_names(self) -> Self:
        if self.part_id == "file" and self.source.type != "folder":
            raise ValueError("part_id: file needs a folder source; a camera has no file names")
        return self


class SpoolConfig(_Part):
    folder: Path
    """Its own: no other worker may share it."""
    max_mib: int = Field(default=4096, ge=64)


class CameraConfig(_Part):
    """One process for many cameras."""

    buffer_mib: int = Field(default=64, ge=8, le=65_536)
    """For frames that wait in memory, of all cameras together. Up to 16 MiB more are on their way to Kafka."""
    when_full: WhenFull = WhenFull.DROP_OLDEST
    """A live camera can't wait: blocking it would lose frames in its driver, where nobody counts them."""
    spool: SpoolConfig | None = None
    cameras: tuple[Camera, ...] = Field(min_length=1)

    @property
    def empty_spool(self) -> str | None:
        """What to say of a `spool:` with nothing below it, as where its lines are commented out."""
        if self.spool or "spool" not in self.model_fields_set:
            return None
        return (
            "spool: has nothing below it, so there is none, and what does not fit into memory while Kafka is away is "
            "lost: name its folder, or take the line out"
        )

    @model_validator(mode="after")
    def _every_camera_once(self) -> Self:
        ids = [camera.camera_id for camera in self.cameras]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"camera_id {', '.join(map(repr, twice))} is used twice; each camera needs its own")
        return self


def read_camera_config(path: Path) -> CameraConfig:
    """Raises ConfigError."""
    return read_config(path, CameraConfig)
