"""What is told of an address never tells the password in it."""

import pytest

from pipeline.addresses import without_password

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://user:secret@10.0.0.5:554/line", "rtsp://…@10.0.0.5:554/line"),
        ("rtsp://user:p@secret@10.0.0.5/line", "rtsp://…@10.0.0.5/line"),
        ("rtsp://user:p/secret@10.0.0.5/line", "rtsp://…"),
        ("http://cam-1/cgi?user=admin&pwd=secret", "http://cam-1/cgi?…"),
        ("http://cam-1/cgi?pwd=x@secret", "http://cam-1/cgi?…"),
        ("http://[fe80::1]:80/line", "http://[fe80::1]:80/line"),
        ("redis://host:1/0", "redis://host:1/0"),
        ("rediss://:pa@secret@host:1", "rediss://…@host:1"),
        ("redis://host:1/0?password=secret", "redis://host:1/0?…"),
        ("clips/line@2.mp4", "clips/line@2.mp4"),
    ],
)
def test_it_is_shown_without(url: str, shown: str) -> None:
    assert without_password(url) == shown
