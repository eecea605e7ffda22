"""The local Valkey keeps within its memory, and nothing but what may expire is evicted."""

import pytest
from redis import Redis

from workers.local.errors import ServiceError
from workers.local.redis_probe import redis_answers
from workers.local.valkey import Valkey

pytestmark = pytest.mark.services

MIB = 1024 * 1024


def test_memory_is_bounded_and_only_expiring_keys_give_way(own_redis: Valkey) -> None:
    with Redis.from_url(own_redis.url, socket_timeout=60) as client:
        client.set("state", "kept")
        for number in range(200):
            client.set(f"map:{number}", b"x" * MIB, ex=3600)
        assert client.info("memory")["used_memory"] <= own_redis.settings.max_memory_bytes
        assert client.get("state") == b"kept"
        assert 0 < len(client.keys("map:*")) < 200


def test_it_is_reached_from_this_machine_only(own_redis: Valkey) -> None:
    with Redis.from_url(own_redis.url, socket_timeout=60) as client:
        assert client.config_get("bind") == {"bind": "127.0.0.1"}


def test_it_comes_back_empty_on_its_port(own_redis: Valkey) -> None:
    url = own_redis.url
    with Redis.from_url(url, socket_timeout=60) as client:
        client.set("map", "gone with the process")
    own_redis.kill()
    assert not redis_answers(url, 0.3)
    own_redis.start()
    assert own_redis.url == url
    with Redis.from_url(url, socket_timeout=60) as client:
        assert client.get("map") is None


def test_a_paused_one_answers_again_later(own_redis: Valkey) -> None:
    own_redis.pause()
    assert not redis_answers(own_redis.url, 0.3)
    own_redis.resume()
    assert redis_answers(own_redis.url, 60)


def test_starting_it_twice_is_refused(own_redis: Valkey) -> None:
    with pytest.raises(ServiceError, match="runs already"):
        own_redis.start()
