"""What lies in a producer's buffer → a picture as it came. What a producer does not tell, the camera is asked for: by
GenTL (1.6, chapter 6) it need not."""

from collections.abc import Callable
from typing import Any

from genicam import gentl
from harvesters.util.pfnc import dict_by_ints

from workers.camera.sources.genicam.device import Fault
from workers.camera.sources.genicam.pixels import Raw, is_known

_KINDS = {getattr(gentl.PAYLOADTYPE_INFO_IDS, name): name for name in dir(gentl.PAYLOADTYPE_INFO_IDS) if "TYPE" in name}
_IMAGE = gentl.PAYLOADTYPE_INFO_IDS.PAYLOAD_TYPE_IMAGE
_PLAIN = {_IMAGE, gentl.PAYLOADTYPE_INFO_IDS.PAYLOAD_TYPE_CHUNK_DATA}
_PARTS = gentl.PAYLOADTYPE_INFO_IDS.PAYLOAD_TYPE_MULTI_PART
_BIG_ENDIAN = 2


def raw_of(buffer: Any, nodes: Any) -> Raw:
    """nodes: the camera's. The buffer may be given back afterwards. Raises Fault for what is no picture, or in a format
    that nobody can read."""
    kind = _told(buffer, "payload_type", lambda: _IMAGE)
    if kind == _PARTS:
        return _first_picture(buffer, nodes)
    if kind not in _PLAIN:
        what = _KINDS.get(kind, str(kind)).removeprefix("PAYLOAD_TYPE_")
        raise Fault(f"the camera sends {what} and no plain pictures: switch that off by features")
    format = _format(_told(buffer, "pixel_format", lambda: None) or nodes.PixelFormat.value, nodes)
    height = int(_told(buffer, "height", lambda: nodes.Height.value))
    delivered = int(_told(buffer, "delivered_image_height", lambda: 0))
    start = int(_told(buffer, "image_offset", lambda: 0))
    content = buffer.raw_buffer
    return Raw(
        _copied(content, start, int(_told(buffer, "size_filled", lambda: len(content)))),
        int(_told(buffer, "width", lambda: nodes.Width.value)),
        delivered if 0 < delivered < height else height,  # line-scan cameras end a picture where the part ends
        format,
        padding=int(_told(buffer, "padding_x", lambda: 0)),
        big_endian=_told(buffer, "pixel_endianness", lambda: 0) == _BIG_ENDIAN,
    )


def _first_picture(buffer: Any, nodes: Any) -> Raw:
    """3D cameras send range, intensity and more in parts."""
    formats = [dict_by_ints.get(part.data_format, "") for part in buffer.parts]
    part, format = next(
        ((part, format) for part, format in zip(buffer.parts, formats, strict=True) if is_known(format)), (None, "")
    )
    if part is None:
        return Raw(b"", 0, 0, _format(", ".join(formats) or "no part", nodes))
    # Parts tell their padding in pixels and buffers in bytes, so rows are measured.
    content = _copied(buffer.raw_buffer, part.data_offset, part.data_size)
    return Raw(content, int(part.width), int(part.height), format, padding=None)


def _format(told: int | str, nodes: Any) -> str:
    name = told if isinstance(told, str) else dict_by_ints.get(told, f"0x{told:08x}")
    if is_known(name):
        return name
    offered = nodes.PixelFormat.symbolics if nodes.has_node("PixelFormat") else ()
    known = " or ".join(filter(is_known, offered))
    raise Fault(f"pictures in {name} can't be read" + (f"; set features.PixelFormat to {known}" if known else ""))


def _copied(content: bytes, start: int, size: int) -> bytes:
    """By way of a view: the producer will write the next picture into these very bytes."""
    return bytes(memoryview(content)[start : start + size])


def _told(buffer: Any, name: str, instead: Callable[[], Any]) -> Any:
    try:
        return getattr(buffer, name)
    except gentl.GenericException:
        return instead()
