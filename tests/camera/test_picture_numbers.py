"""A lost picture of H.264 is noticed by the numbers of the others, whatever the stream is made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.camera.sources.h264 import PictureNumbers

pytestmark = pytest.mark.unit


def bits(*fields: int | tuple[int, int]) -> bytes:
    """A number alone is in Exp-Golomb code, (number, width) in so many bits. Ends as the standard wants it."""
    text = ""
    for field in fields:
        if isinstance(field, tuple):
            text += f"{field[0]:0{field[1]}b}"
        else:
            text += f"{field + 1:0{2 * (field + 1).bit_length() - 1}b}"
    text += "1" + "0" * (-len(text) % 8 + 7)
    return int(text[: len(text) // 8 * 8], 2).to_bytes(len(text) // 8, "big")


def unit(kind: int, content: bytes) -> bytes:
    for end in (3, 0, 1, 2):  # what would look like a start code
        content = content.replace(bytes([0, 0, end]), bytes([0, 0, 3, end]))
    return b"\0\0\0\1" + bytes([kind]) + content


def sequence(number_bits: int = 4, may_skip: bool = False) -> bytes:
    """Of the baseline profile, with its pictures' parameters: both have the number 0."""
    sps = bits((66, 8), (0, 8), (30, 8), 0, number_bits - 4, 2, 1, (int(may_skip), 1), 19, 14, (1, 1))
    return unit(0x67, sps) + unit(0x68, bits(0, 0, (0, 2), 0))


def picture(number: int, number_bits: int = 4, *, key: bool = False, kept: bool = True, slices: int = 1) -> bytes:
    kind = (0x60 if kept else 0) | (5 if key else 1)
    return b"".join(unit(kind, bits(300 * at, 7, 0, (number, number_bits), 5) + b"\x55" * 20) for at in range(slices))


def whole(numbers: PictureNumbers, *packets: bytes) -> str:
    return "".join("." if numbers.follows(packet) else "x" for packet in packets)


def test_numbers_follow_each_other_and_begin_again_at_their_end() -> None:
    pictures = [picture(number % 16, key=number == 0, slices=3) for number in range(40)]
    assert whole(PictureNumbers(sequence()), *pictures) == "." * 40
    assert whole(PictureNumbers(sequence()), *pictures[:15], *pictures[16:]) == "." * 15 + "x" + "." * 23


def test_those_that_none_is_drawn_upon_may_be_lost() -> None:
    one_of_two = [picture((number + 1) // 2 % 16, kept=number % 2 == 0) for number in range(40)]
    assert whole(PictureNumbers(sequence()), *one_of_two) == "." * 40
    assert whole(PictureNumbers(sequence()), *one_of_two[::2]) == "." * 20
    assert "x" in whole(PictureNumbers(sequence()), *one_of_two[:4], *one_of_two[5:])


def test_a_lost_key_frame_is_noticed_and_one_that_comes_begins_anew() -> None:
    row = [picture(number, key=number == 0) for number in range(10)]
    assert whole(PictureNumbers(sequence()), *row, *row[1:]) == "." * 10 + "x" + "." * 8
    assert whole(PictureNumbers(sequence()), *row[:5], *row) == "." * 15


def test_a_stream_that_leaves_numbers_out_on_purpose_is_believed() -> None:
    assert whole(PictureNumbers(sequence(may_skip=True)), picture(1), picture(4), picture(9)) == "..."


def test_an_encoder_that_numbers_in_its_own_way_is_not_taken_for_a_network_that_loses() -> None:
    """Each of its pictures would pass for none, for ever."""
    in_twos = [picture(2 * number % 16) for number in range(80)]
    assert whole(PictureNumbers(sequence()), *in_twos) == "." + "x" * 31 + "." * 48
    numbers = PictureNumbers(sequence())
    whole(numbers, *in_twos)
    row = [picture(number % 16) for number in range(40)]
    assert whole(numbers, *row, *row[9:]).endswith("." * 8 + "x" + "." * 30), "believed again"


def test_the_stream_may_tell_anew_what_it_is_made_of() -> None:
    numbers = PictureNumbers(sequence(4))
    assert whole(numbers, picture(1), picture(2)) == ".."
    anew = [sequence(9) + picture(0, 9, key=True), picture(1, 9), picture(2, 9), picture(300, 9)]
    assert whole(numbers, *anew) == "...x"


def test_nothing_is_said_of_a_stream_that_tells_nothing_of_itself() -> None:
    assert whole(PictureNumbers(None), picture(1), picture(9)) == ".."


@given(st.binary(max_size=64), st.lists(st.binary(max_size=64), max_size=8))
def test_any_bytes_are_borne(extradata: bytes, packets: list[bytes]) -> None:
    numbers = PictureNumbers(extradata)
    for content in packets:
        for packet in (content, b"\0\0\1" + content, unit(0x67, content), unit(0x61, content)):
            assert isinstance(numbers.follows(packet), bool)
