"""Bad frames, sent to the running plant: each gets its end, with its reason.

Dark, bright and blurred ones are none to the bundle `null`, which has no limits for them: tests/stream/test_frames.py.
"""

import dataclasses
import io
import struct
import zlib
from datetime import timedelta

import numpy as np
import pytest
from PIL import Image
from support.plant import Plant
from support.stream import frame, outgoing, picture, wait_until

from pipeline.audit.take_stock import take_stock
from pipeline.events import Doubt, Score, Verdict, now
from pipeline.kafka.dead_letters import cause_of_death
from pipeline.kafka.publisher import Publisher, PublishError
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.records import Outgoing
from pipeline.topics import MAX_FRAME_BYTES

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300, func_only=True)]

LINE = "bad"


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def bomb() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


NOISE = np.random.default_rng(1).integers(40, 90, (32, 32)).astype(np.uint8)
COLOUR = np.dstack([NOISE] * 3)
DEAD = {
    "truncated": (picture(seed=1)[:-30], "undecodable"),
    "not-an-image": (b"\x00" * 500, "undecodable"),
    "zero-bytes": (b"", "empty"),
    "bomb": (bomb(), "too_large"),
    "oversize": (b"\xff" * (MAX_FRAME_BYTES + 1000), "too_large"),
}
SCORED = {
    "16-bit": png(NOISE.astype(np.uint16) * 257),
    "rgba": png(np.dstack([COLOUR, NOISE])),
    "palette": (lambda out: (Image.fromarray(COLOUR).quantize(16).save(out, "PNG"), out.getvalue())[1])(io.BytesIO()),
}
HEADERS = {
    "missing-header": {"part_id": None},
    "schema-version": {"schema_version": b"99"},
    "wrong-sequence": {"sequence": b"many"},
}


def test_each_bad_frame_ends_with_its_reason(plant: Plant) -> None:
    topics = plant.settings.topics
    publisher = Publisher(plant.settings, "bad-input")
    cameras = {name: frame(0, camera=f"bad-{name}", line_id=LINE) for name in [*DEAD, *SCORED, *HEADERS]}
    special = {
        "wrong-size": outgoing(topics.frames.name, frame(0, "bad-size", line_id=LINE), picture(size=(48, 48), seed=1)),
        "frozen": outgoing(topics.frames.name, frame(0, "bad-frozen", line_id=LINE, repeats=50), picture(seed=1)),
        "late": outgoing(
            topics.frames.name,
            frame(0, "bad-late", line_id=LINE, captured_at=now() - timedelta(hours=1)),
            picture(seed=1),
        ),
        "future": outgoing(
            topics.frames.name,
            frame(0, "bad-future", line_id=LINE, captured_at=now() + timedelta(hours=1)),
            picture(seed=1),
        ),
        "unknown-recipe": outgoing(
            topics.frames.name, frame(0, "bad-recipe", line_id=LINE, recipe="gone"), picture(seed=1)
        ),
        "first-of-a-name": outgoing(topics.frames.name, frame(0, "bad-twice", line_id=LINE), picture(seed=1)),
        "second-of-a-name": outgoing(topics.frames.name, frame(0, "bad-twice", line_id=LINE), picture(seed=2)),
    }
    records = [
        Outgoing(topics.frames.name, cameras[n].camera_id.encode(), v, cameras[n].to_headers())
        for n, (v, _) in DEAD.items()
    ]
    records += [outgoing(topics.frames.name, cameras[name], value) for name, value in SCORED.items()]
    for name, changes in HEADERS.items():
        good = outgoing(topics.frames.name, cameras[name], picture(seed=1))
        headers = {key: changes.get(key, value) for key, value in good.headers}
        records.append(dataclasses.replace(good, headers=[(k, v) for k, v in headers.items() if v is not None]))
    publisher.publish([*records, *special.values()])
    publisher.close()

    def ends() -> dict[str, str]:
        found = {}
        for record in read_to_end(plant.settings, [topics.frames_dead.name]):
            cause = cause_of_death(record.headers)
            assert cause["detail"]
            found[(record.key or b"").decode()] = cause["reason"]
        return found

    def scores() -> dict[str, Score]:
        found = [Score.from_json(record.value) for record in read_to_end(plant.settings, [topics.scores.name])]
        return {score.camera_id: score for score in found if score.line_id == LINE}

    wait_until(lambda: len(ends()) >= len(DEAD) + len(HEADERS) + 2 and len(scores()) >= len(SCORED) + 5)
    expected = {f"bad-{name}": reason for name, (_, reason) in DEAD.items()}
    expected |= {f"bad-{name}": "contract" for name in HEADERS}
    expected |= {"bad-recipe": "unknown_camera", "bad-twice": "duplicate_sequence"}
    assert ends() == expected
    found = scores()
    assert all(found[f"bad-{name}"].verdict is Verdict.OK for name in SCORED), found
    assert found["bad-size"].doubts == (Doubt.WRONG_SIZE,)
    assert found["bad-frozen"].doubts == (Doubt.FROZEN,)
    assert found["bad-late"].doubts == (Doubt.LATE,)
    assert found["bad-future"].doubts == (Doubt.FUTURE,)
    assert found["bad-twice"].verdict is Verdict.OK

    accounts = [account for account in take_stock(plant.settings) if account.camera_id.startswith("bad-")]
    assert all(account.balanced for account in accounts), accounts
    assert sum(sum(account.dead.values()) for account in accounts) == len(expected) - 1, (
        "the twice-used name counts once"
    )


def test_the_dead_letter_holds_the_original(plant: Plant) -> None:
    topics = plant.settings.topics
    facts = frame(0, camera="dead-whole", line_id=LINE)
    publisher = Publisher(plant.settings, "bad-input")
    publisher.publish([outgoing(topics.frames.name, facts, b"junk")])
    publisher.close()

    def letters() -> list[object]:
        records = read_to_end(plant.settings, [topics.frames_dead.name])
        return [record for record in records if record.key == b"dead-whole"]

    wait_until(lambda: len(letters()) == 1)
    (letter,) = letters()
    assert letter.value == b"junk"  # type: ignore[attr-defined]
    assert letter.headers[: len(facts.to_headers())] == tuple(facts.to_headers())  # type: ignore[attr-defined]


def test_a_record_beyond_the_limit_is_refused_at_the_sender(plant: Plant) -> None:
    publisher = Publisher(plant.settings, "bad-input")
    facts = frame(0, camera="huge", line_id=LINE)
    with pytest.raises(PublishError) as refused:
        publisher.publish([outgoing(plant.settings.topics.frames.name, facts, b"x" * (MAX_FRAME_BYTES * 2))])
    assert not refused.value.retriable
    publisher.close()
