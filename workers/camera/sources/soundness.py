"""Which pictures of a stream are what the camera saw. Each may be drawn upon the one before, up to the next key frame,
and decoders don't say which are drawn upon one that was torn or lost on the way."""

from dataclasses import dataclass
from typing import Any

from av.codec.context import Flags

from workers.camera.sources.h264 import PictureNumbers


@dataclass(frozen=True)
class _Way:
    """Of one packet; an object for each, since PyAV knows them by their identity."""

    losses: int
    torn: bool


class Soundness:
    def __init__(self, codec: Any) -> None:
        """codec: PyAV's context of the stream, not opened yet."""
        codec.copy_opaque = True  # a picture may come out many packets after its own
        self._codec = codec
        self._numbers = PictureNumbers(codec.extradata) if codec.name == "h264" else None
        self._losses = self._losses_before = 0
        """By the packets, and by the picture that came out last."""
        self._torn = False
        self._sound = True

    def follow(self, packet: Any) -> None:
        """Before it is decoded."""
        if self._numbers:
            if packet.has_sidedata("new_extradata"):
                self._numbers = PictureNumbers(bytes(packet.get_sidedata("new_extradata")))
            self._losses += not self._numbers.follows(bytes(packet))
        # MPEG-TS, whose packets are numbered, marks the one that it had just completed, and not always the torn one.
        packet.opaque = _Way(self._losses, packet.is_corrupt or self._torn)
        self._torn = packet.is_corrupt

    def failed(self) -> None:
        """The decoder made nothing of a packet."""
        self._sound = False

    def of(self, picture: Any) -> bool:
        """Asked of each, as they come out."""
        way = picture.opaque or _Way(self._losses, False)
        upon_sound, self._losses_before = self._sound and way.losses == self._losses_before, way.losses
        self._sound = not picture.is_corrupt and not way.torn and (picture.key_frame or upon_sound)
        if self._sound:
            # FFmpeg would keep those of H.265 to itself that are drawn upon a lost one, and nobody would count them.
            # Not before: what precedes the first key frame of a live stream was lost to nobody.
            self._codec.flags |= Flags.output_corrupt
        return self._sound
