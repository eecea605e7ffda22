"""Whether a Redis or Valkey answers."""

from redis import Redis
from redis.exceptions import RedisError


def redis_answers(url: str, timeout_s: float) -> bool:
    """One PING, without retries. A malformed address raises ValueError."""
    with Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=None) as client:
        try:
            return bool(client.ping())
        except RedisError:
            return False
