"""What a group has read, and who is in it."""

import pytest
from support.stream import settings_for

from pipeline.kafka.consumer_groups import members
from workers.local.kafka_broker import KafkaBroker

pytestmark = pytest.mark.services


def test_a_broker_that_has_just_started_is_waited_for(own_kafka: KafkaBroker, unique: str) -> None:
    """It answers for its topics before it knows its groups: lines could not be moved just after."""
    own_kafka.kill()
    own_kafka.start()
    assert members(settings_for(own_kafka.bootstrap, unique), f"{unique}-nobody") == 0
