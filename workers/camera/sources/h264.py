"""Whether a picture of H.264 was lost on the way, by the numbers that the standard (ITU-T H.264, 7.4.3: `frame_num`)
gives to those that others are drawn upon. FFmpeg puts another in the place of a lost one, and says nothing. Pure."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

_SLICE, _KEY_SLICE, _SEQUENCE, _PICTURE = 1, 5, 7, 8
_WITH_CHROMA = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})
"""Profiles whose sequences tell of their colours and of scaling."""
_LOOKED_BACK = 32
"""Where most of so many pictures seem to miss one, the encoder numbers them in its own way."""
_HEAD_BYTES = 1024
"""Of a unit, of which only the beginning is looked at; a sequence with all its scaling lists is no longer."""


@dataclass(frozen=True)
class _Sequence:
    number_bits: int
    colour_planes: bool
    """Each sent by itself, and numbered in each slice."""
    may_skip: bool
    """Numbers are left out on purpose, as where every other picture may be dropped."""


class PictureNumbers:
    """Follows one stream. What it can't make out passes for whole: damage the decoder tells of."""

    def __init__(self, extradata: bytes | None) -> None:
        """extradata: the codec context's: a container's are an `avcC` box, a network's the units themselves."""
        self._sequences: dict[int, _Sequence] = {}
        self._sequence_of: dict[int, int] = {}
        """Picture parameters → sequence."""
        self._last: int | None = None
        """Number of the last picture that others are drawn upon."""
        self._lately: deque[bool] = deque(maxlen=_LOOKED_BACK)
        """Whether their numbers followed."""
        head = extradata or b""
        self._length_bytes = (head[4] & 3) + 1 if len(head) > 6 and head[0] == 1 else 0
        """Before each unit; 0 where a start code stands there."""
        for unit in _boxed(head) if self._length_bytes else _between_start_codes(head):
            self._learn(unit)

    def follows(self, packet: bytes) -> bool:
        """Whether no picture is missing before the one in this packet. Ask for each, in the order of decoding."""
        units = _of_length(packet, self._length_bytes) if self._length_bytes else _between_start_codes(packet)
        for unit in units:
            if unit and unit[0] & 31 in (_SLICE, _KEY_SLICE):
                try:
                    return self._takes(unit)
                except IndexError:  # torn
                    return True
            self._learn(unit)
        return True

    def _takes(self, unit: bytes) -> bool:
        bits = _Bits(unit)
        bits.unsigned(), bits.unsigned()  # its place in the picture, and its kind
        sequence = self._sequences.get(self._sequence_of.get(bits.unsigned(), -1))
        if sequence is None:
            return True
        if sequence.colour_planes:
            bits.take(2)
        number = bits.take(sequence.number_bits)
        last, key = self._last, unit[0] & 31 == _KEY_SLICE
        if unit[0] >> 5 & 3:
            self._last = number
        if key or last is None or sequence.may_skip:
            return True
        self._lately.append(number in (last, (last + 1) % (1 << sequence.number_bits)))
        return self._lately[-1] or 2 * sum(self._lately) < len(self._lately) == _LOOKED_BACK

    def _learn(self, unit: bytes) -> None:
        kind = unit[0] & 31 if unit else 0
        try:
            if kind == _SEQUENCE:
                number, sequence = _sequence(_Bits(unit))
                self._sequences[number] = sequence
            elif kind == _PICTURE:
                bits = _Bits(unit)
                picture = bits.unsigned()
                self._sequence_of[picture] = bits.unsigned()
        except IndexError:
            return


def _sequence(bits: "_Bits") -> tuple[int, _Sequence]:
    """Its number, and what it says. Raises IndexError where it is torn."""
    profile = bits.take(8)
    bits.take(16)
    number, planes = bits.unsigned(), False
    if profile in _WITH_CHROMA:
        chroma = bits.unsigned()
        planes = chroma == 3 and bool(bits.take(1))
        bits.unsigned(), bits.unsigned(), bits.take(1)  # depths, and a transform that is passed by
        if bits.take(1):
            for at in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    _pass_over_scaling(bits, 16 if at < 6 else 64)
    number_bits = bits.unsigned() + 4
    order = bits.unsigned()
    if order == 0:
        bits.unsigned()
    elif order == 1:
        bits.take(1), bits.unsigned(), bits.unsigned()
        for _ in range(bits.unsigned()):
            bits.unsigned()
    bits.unsigned()  # how many pictures are kept
    return number, _Sequence(number_bits, planes, bool(bits.take(1)))


def _pass_over_scaling(bits: "_Bits", size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            code = bits.unsigned()
            following = (last + (code + 1 >> 1) * (1 if code & 1 else -1)) % 256
        last = following or last


class _Bits:
    """Of a unit, behind its first byte. Raises IndexError at its end."""

    def __init__(self, unit: bytes) -> None:
        # A three keeps what looks like a start code from being one.
        content = unit[1:_HEAD_BYTES].replace(b"\0\0\3", b"\0\0")
        self._all, self._left = int.from_bytes(content, "big"), len(content) * 8

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise IndexError("the unit ends")
        return self._all >> self._left & (1 << count) - 1

    def unsigned(self) -> int:
        """In Exp-Golomb code."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


def _between_start_codes(content: bytes) -> Iterator[bytes]:
    start = content.find(b"\0\0\1")
    while start >= 0:
        following = content.find(b"\0\0\1", start + 3)
        yield content[start + 3 : following if following >= 0 else len(content)]
        start = following


def _of_length(content: bytes, length_bytes: int, at: int = 0) -> Iterator[bytes]:
    while at + length_bytes < len(content):
        begin = at + length_bytes
        at = begin + int.from_bytes(content[at:begin], "big")
        yield content[begin:at]


def _boxed(avcc: bytes) -> Iterator[bytes]:
    """Sequences and picture parameters."""
    at = 5
    for mask in (31, 255):
        count, at = (avcc[at] & mask if at < len(avcc) else 0), at + 1
        for _ in range(count):
            begin = at + 2
            at = begin + int.from_bytes(avcc[at:begin], "big")
            yield avcc[begin:at]
