"""Anomaly maps and thumbnails in Redis: one hash a frame, everything with an expiry.

Written by the replicas, read by the console and by `andon map`. The map is kept on the model's own grid, as an 8-bit
PNG with the values of black and white beside it (or in half precision). A frame scored twice overwrites itself.
"""

import io
import logging
import re
import ssl
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import redis
from numpy.typing import NDArray
from PIL import Image
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from pipeline.errors import AndonError
from pipeline.events import KafkaPosition, now
from pipeline.frames import MAX_FRAME_PIXELS

log = logging.getLogger(__name__)

THUMBNAIL_PX = 160
_PATTERN = re.compile(r"[*?\[\]\\]")
"""What Redis would take for a pattern, and for other frames'."""


_OF_TLS = (ssl.SSLError, FileNotFoundError, PermissionError)


class MapStoreError(AndonError):
    """Redis is away, full, or refuses. The same entries may be put again."""


@dataclass(frozen=True)
class MapEntry:
    """What is kept of one frame."""

    key: str
    frame_id: str
    anomaly_map: NDArray[np.float32] | None
    """(h, w) on the model's grid; None where the model could not look at the frame."""
    thumbnail: bytes
    """JPEG, longest side at most `THUMBNAIL_PX`."""
    facts: Mapping[str, str]
    """What is shown beside the picture: verdict, score, threshold."""
    position: KafkaPosition
    """Where the full frame is, as long as Kafka keeps it."""


@dataclass(frozen=True)
class StoredMap:
    """What Redis gave back."""

    frame_id: str
    anomaly_map: NDArray[np.float32] | None
    thumbnail: bytes
    facts: Mapping[str, str]
    position: KafkaPosition


def map_key(frame_id: str, model_hash: str) -> str:
    return f"andon:map:{frame_id}:{model_hash}"


def thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    """JPEG of an (H, W) or (H, W, 3) frame, longest side at most `THUMBNAIL_PX` and more than half of it.

    Shrunk by a whole factor: averaging blocks of pixels takes a fraction of the time of resampling.
    """
    image = Image.fromarray(pixels)
    factor = -(-max(image.size) // THUMBNAIL_PX)
    if factor > 1:
        image = image.reduce(factor)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return out.getvalue()


def encode_map(grid: NDArray[np.float32], *, half_precision: bool) -> dict[str, bytes]:
    """The hash fields of a map. What half precision would make infinite is kept as 8-bit all the same."""
    if half_precision and np.abs(grid).max() <= np.finfo(np.float16).max:
        shape = ",".join(map(str, grid.shape)).encode()
        return {"map_f16": zlib.compress(grid.astype("<f2").tobytes(), 1), "shape": shape}
    low, high = float(grid.min()), float(grid.max())
    span = high - low or 1.0
    out = io.BytesIO()
    Image.fromarray(np.rint((grid - low) * (255 / span)).astype(np.uint8)).save(out, "PNG", compress_level=1)
    return {"map_u8": out.getvalue(), "low": repr(low).encode(), "high": repr(high).encode()}


def decode_map(fields: Mapping[bytes, bytes]) -> NDArray[np.float32] | None:
    """(h, w), or None when the frame has no map. 8-bit maps come back within half a step of (high − low) / 255.

    Whoever may write to Redis may have written them: may raise anything, and unpacks no more than a frame has pixels.
    """
    if b"map_f16" in fields:
        rows, columns = map(int, fields[b"shape"].split(b","))
        _check_size(rows, columns)
        halves = zlib.decompressobj().decompress(fields[b"map_f16"], 2 * rows * columns)
        return np.frombuffer(halves, "<f2").reshape(rows, columns).astype(np.float32)
    if b"map_u8" in fields:
        low, high = float(fields[b"low"]), float(fields[b"high"])
        image = Image.open(io.BytesIO(fields[b"map_u8"]), formats=("PNG",))
        _check_size(*image.size)
        levels = np.asarray(image, dtype=np.float32)
        return levels * np.float32((high - low) / 255) + np.float32(low)
    return None


def _check_size(rows: int, columns: int) -> None:
    if not 0 < rows * columns <= MAX_FRAME_PIXELS:
        raise ValueError(f"a map of {rows} × {columns}")


Login = Callable[[], tuple[str, str] | None]
"""User, which may be empty, and password."""


class _Asked(redis.CredentialProvider):
    def __init__(self, login: Login) -> None:
        self._login = login

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        user, password = self._login() or ("", "")
        return (user, password) if user else (password,)


class MapStore:
    """One connection pool to Redis; thread-safe. `ttl_s` and `half_precision` may be set while it is used."""

    def __init__(
        self,
        url: str,
        *,
        login: Login = lambda: None,
        ttl_s: int = 3600,
        half_precision: bool = False,
        timeout_s: float = 2.0,
    ) -> None:
        """login: asked at each connection, since a password may be changed meanwhile. None: as the url says.

        Raises MapStoreError for an option in the url that there is not, or whose value is none."""
        try:
            self._redis: Any = redis.Redis.from_url(
                url,
                **({"credential_provider": _Asked(login)} if login() else {}),
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                health_check_interval=15,
                # Two quick tries; whoever calls knows better how to wait longer. None behind one that hangs: the client
                # tries each command, each connection of it and each login anew, and 2 s were 19.
                retry=Retry(ExponentialBackoff(cap=0.2, base=0.05), 2, (redis.ConnectionError,)),
            )
            pool = self._redis.connection_pool
            pool.connection_class(**pool.connection_kwargs)  # connects to nothing yet
        except TypeError as error:
            raise MapStoreError(f"REDIS_URL has an option that there is not: {str(error).split('() ')[-1]}") from error
        except (ValueError, redis.RedisError) as error:
            raise MapStoreError(f"REDIS_URL: {error}") from error
        self._over_tls = url.startswith("rediss:")
        self.ttl_s = ttl_s
        self.half_precision = half_precision

    def expires_at(self) -> datetime:
        return now() + timedelta(seconds=self.ttl_s)

    def put(self, entries: Sequence[MapEntry]) -> None:
        """Writes all entries in one pipeline. Idempotent. Raises MapStoreError."""
        if not entries:
            return
        pipe = self._redis.pipeline(transaction=False)
        for entry in entries:
            fields: dict[str, Any] = {
                "frame_id": entry.frame_id,
                "thumbnail": entry.thumbnail,
                "position": f"{entry.position.topic},{entry.position.partition},{entry.position.offset}",
                **{f"fact.{name}": value for name, value in entry.facts.items()},
            }
            if entry.anomaly_map is not None:
                fields |= encode_map(entry.anomaly_map, half_precision=self.half_precision)
            pipe.hset(entry.key, mapping=fields)
            pipe.expire(entry.key, self.ttl_s)
        try:
            pipe.execute()
        except redis.OutOfMemoryError as error:  # its own words begin with the bytes of a picture
            raise MapStoreError(
                f"Redis is full, and did not take {len(entries)} maps: give it more maxmemory, and maxmemory-policy "
                "volatile-ttl, so that the oldest maps make room"
            ) from error
        except (redis.ReadOnlyError, redis.exceptions.MasterDownError) as error:
            # After a failover its address leads to another; a connection that stands would stay with this one for ever.
            self._redis.connection_pool.disconnect()
            raise MapStoreError(
                f"Redis did not take {len(entries)} maps: it is a replica by now. Does REDIS_URL lead to the primary?"
            ) from error
        except redis.RedisError as error:
            if _is_of_another_type(error):  # it would keep this frame, and all behind it, waiting for ever
                self._remove([entry.key for entry in entries])
                raise MapStoreError("what Redis held under the name of a map was none of ours: removed") from error
            raise MapStoreError(f"Redis did not take {len(entries)} maps: {self._why(error)}") from error

    def _remove(self, keys: Sequence[str]) -> None:
        """Raises MapStoreError: the next who puts them tries again."""
        try:
            self._redis.delete(*keys)
        except redis.RedisError as error:
            raise MapStoreError(
                f"what Redis holds under the name of a map is none of ours, and is there still: {self._why(error)}"
            ) from error

    def get(self, key: str) -> StoredMap | None:
        """None once expired, and where what lies there is no map, which the log tells. Raises MapStoreError."""
        try:
            fields: dict[bytes, bytes] = self._redis.hgetall(key)
        except redis.RedisError as error:
            if _is_of_another_type(error):
                log.warning("what Redis holds at %r is no map of ours: %s", key, error)
                return None
            raise MapStoreError(f"Redis did not answer: {self._why(error)}") from error
        if not fields:
            return None
        try:
            return _stored(fields)
        except Exception as error:  # numpy, Pillow and zlib raise what they like on hostile bytes
            log.warning("what Redis holds at %r is no map of ours: %s: %s", key, type(error).__name__, error)
            return None

    def keys_of(self, frame_id: str) -> list[str]:
        """The keys of a frame, one for each model that scored it, the newest last. A scan: for people, not for the
        stream."""
        own = map_key(_PATTERN.sub(r"\\\g<0>", frame_id), "*")
        try:
            keys = list(set(self._redis.scan_iter(match=own, count=1000)))
            pipe = self._redis.pipeline(transaction=False)  # at one moment: asked one by one, each looks older
            for key in keys:
                pipe.pttl(key)
            return [key.decode() for _, key in sorted(zip(pipe.execute(), keys, strict=True))]
        except redis.RedisError as error:
            raise MapStoreError(f"Redis did not answer: {self._why(error)}") from error

    def _why(self, error: redis.RedisError) -> str:
        said = _said(error)
        match error:
            case redis.AuthenticationError():
                return f"{said}. Look at REDIS_USERNAME and REDIS_PASSWORD"
            case redis.exceptions.NoPermissionError():
                return f"{said}. Its ACL must give that user ~andon:* and +@read +@write +@connection"
            case redis.ResponseError() if said.startswith("unknown command"):  # and goes on with bytes of a picture
                return f"{said.split(', with')[0]}. Is REDIS_URL a Sentinel's? Name Redis itself"
            case redis.exceptions.MasterDownError():  # is a ClusterDownError, too
                return f"{said}. It is a replica: does REDIS_URL lead to the primary?"
            case redis.exceptions.AskError() | redis.exceptions.ClusterDownError():  # MOVED is an AskError, too
                return f"{said}. REDIS_URL leads to a Redis Cluster: Andon needs one server that holds all keys"
            case redis.ConnectionError() if self._over_tls and isinstance(error.__context__, _OF_TLS):
                return (
                    f"{said}. Look at the certificates that REDIS_URL names (ssl_ca_certs; ssl_certfile and "
                    "ssl_keyfile where Redis wants one of ours), and at the dates of Redis' own"
                )
            case redis.ConnectionError() | redis.TimeoutError():
                return f"{said}. Is it running, and is REDIS_URL right?"
        return said

    def close(self) -> None:
        self._redis.close()


def _said(error: redis.RedisError) -> str:
    """Without the command, which holds the bytes of a picture."""
    return str(error).split("of pipeline caused error: ")[-1].rstrip(".")


def _is_of_another_type(error: redis.RedisError) -> bool:
    return isinstance(error, redis.ResponseError) and _said(error).startswith("WRONGTYPE")


def _stored(fields: Mapping[bytes, bytes]) -> StoredMap:
    topic, partition, offset = fields[b"position"].decode().rsplit(",", 2)
    facts = {name[5:].decode(): value.decode() for name, value in fields.items() if name.startswith(b"fact.")}
    return StoredMap(
        frame_id=fields[b"frame_id"].decode(),
        anomaly_map=decode_map(fields),
        thumbnail=fields[b"thumbnail"],
        facts=facts,
        position=KafkaPosition(topic=topic, partition=int(partition), offset=int(offset)),
    )
