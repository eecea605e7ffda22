import io
import logging

import pytest

from workers.printable import begin_logging

pytestmark = pytest.mark.unit


def test_what_others_said_forges_no_line_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    root, written = logging.Logger("root"), io.StringIO()
    monkeypatch.setattr(logging, "root", root)
    monkeypatch.setattr("sys.stderr", written)
    monkeypatch.setattr("workers.printable.OF_CONNECTIONS", ())  # their levels would outlast this test
    begin_logging()
    root.warning("reset by ada: %s", "done\n2026-01-01 00:00:00 WARNING line-1: HOLD\x1b[2J")
    try:
        raise ValueError
    except ValueError:
        root.exception("it ended")
    lines = written.getvalue().splitlines()
    assert lines[0].endswith("done 2026-01-01 00:00:00 WARNING line-1: HOLD [2J")
    assert lines[1].endswith("ERROR root: it ended")
    assert lines[2].startswith("Traceback")
