"""A Ray on a busy machine gets the time that it needs: a first `make demo` beside other work ended after 30 s."""

import pytest
from ray._private import services

from workers.local.patient_ray import with_patience

pytestmark = pytest.mark.unit


def test_a_node_that_registers_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([RuntimeError("not there"), RuntimeError("not there"), {"node_id": "n"}])
    monkeypatch.setattr(services, "get_node", lambda *_: give(next(answers)))
    with with_patience(30):
        assert services.get_node("gcs", "n") == {"node_id": "n"}


def test_one_that_never_does_is_told_in_rays_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "get_node", lambda *_: give(RuntimeError("not there")))
    with with_patience(0.1), pytest.raises(RuntimeError, match="not there"):
        services.get_node("gcs", "n")


def give(answer: object) -> object:
    if isinstance(answer, Exception):
        raise answer
    return answer
