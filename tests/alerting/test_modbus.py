"""Devices that close their connection after each answer, as many do: the proof of a stop is no weaker for it."""

import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from alerting.plc_peers import LINE, config
from pymodbus.pdu import ExceptionResponse
from pymodbus.server.requesthandler import ServerRequestHandler

from pipeline.events import Action
from workers.alerting.actuators.base import Actuator, ActuatorError, GaveWayError, Image, LeaseLostError, matches
from workers.alerting.actuators.config import ModbusConfig
from workers.alerting.actuators.open import open_actuator
from workers.local.ports import free_ports
from workers.plc.ladder import Ladder
from workers.plc.station import Station

pytestmark = pytest.mark.services

HOLD = Image(epoch=70_000, heartbeat=7, action=Action.HOLD, run_permit=False)
REJECT = Image(epoch=70_000, heartbeat=8, action=Action.REJECT, run_permit=True)
RUN = Image(epoch=70_000, heartbeat=9, action=None, run_permit=True)


def _at_once(handler: Any) -> None:
    handler.transport.close()


def _a_little_later(handler: Any) -> None:
    handler.loop.call_later(0.003, handler.transport.close)


def _with_a_reset(handler: Any) -> None:
    handler.loop.call_later(0.003, handler.transport.abort)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Any], None]], list[int]]:
    """Lets pymodbus' server hang up behind each of its answers; the list grows by one for each."""
    sent: list[int] = []
    send = ServerRequestHandler.server_send

    def closing(hang_up: Callable[[Any], None]) -> list[int]:
        def and_close(handler: Any, pdu: Any, addr: Any) -> None:
            send(handler, pdu, addr)
            sent.append(pdu.function_code)
            hang_up(handler)

        monkeypatch.setattr(ServerRequestHandler, "server_send", and_close)
        return sent

    return closing


@contextmanager
def device(folder: Path, protocol: str = "modbus", host: str = "127.0.0.1") -> Iterator[tuple[Ladder, Actuator]]:
    (port,) = free_ports(1)
    ladder = Ladder(LINE)
    with Station([ladder], host, modbus_port=port):
        actuator = open_actuator(LINE, config(protocol, port, folder))
        try:
            yield ladder, actuator
        finally:
            actuator.close()


@pytest.mark.parametrize("protocol", ["modbus", "coils"])
@pytest.mark.parametrize("hang_up", [_at_once, _a_little_later, _with_a_reset])
def test_a_device_that_closes_after_each_answer_is_written_to_and_read_back(
    protocol: str, hang_up: Callable[[Any], None], answers: Any, tmp_path: Path
) -> None:
    sent = answers(hang_up)
    with device(tmp_path, protocol) as (ladder, actuator):
        for image in (RUN, HOLD, HOLD, REJECT, RUN):
            found = actuator.exchange(image, lambda: None)
            assert matches(image, found), found
        assert actuator.read() == found
        assert ladder.stops == 1
    assert len(sent) > 30  # as many connections


@pytest.mark.parametrize(
    ("code", "told"),
    [(6, None), (11, None), (2, r"refused to .*: exception 2 \(illegal address\)")],
    ids=str,
)
def test_a_device_that_is_busy_is_asked_again_and_one_that_refuses_is_not(
    code: int, told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every second request of an exchange was answered so, and with it the exchange was over: the stop got through in
    one of sixty."""
    send, sent = ServerRequestHandler.server_send, 0

    def every_second(handler: Any, pdu: Any, addr: Any) -> None:
        nonlocal sent
        sent += 1
        if sent % 2:
            busy = ExceptionResponse(pdu.function_code, code, device_id=pdu.dev_id, transaction=pdu.transaction_id)
            send(handler, busy, addr)
        else:
            send(handler, pdu, addr)

    monkeypatch.setattr(ServerRequestHandler, "server_send", every_second)
    with device(tmp_path) as (ladder, actuator):
        if told:
            with pytest.raises(ActuatorError, match=told):
                actuator.exchange(HOLD, lambda: None)
            assert sent == 1
        else:
            assert matches(HOLD, actuator.exchange(HOLD, lambda: None))
            assert ladder.stops == 1


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"coils": {"stop": 0, "held": 4000}}, r"read coil 4000 \(held\)"),
        ({"coils": {"stop": 4000}, "block": None}, r"write coil 4000 \(stop\)"),
        ({"block": 4000}, "write the block at 4000"),
    ],
    ids=["an output", "an order", "the block"],
)
def test_a_device_that_refuses_one_address_is_told_of_with_it(
    changes: dict[str, Any], refused: str, tmp_path: Path
) -> None:
    """It said "refused: exception 2", and with five addresses in the policy nobody knew which was wrong."""
    (port,) = free_ports(1)
    named = config("modbus", port, tmp_path).model_dump() | changes
    with (
        Station([Ladder(LINE)], modbus_port=port),
        closing(open_actuator(LINE, ModbusConfig(**named))) as actuator,
        pytest.raises(ActuatorError, match=f"refused to {refused}: exception 2 "),
    ):
        actuator.exchange(RUN, lambda: None)


@pytest.mark.parametrize("protocol", ["modbus", "coils"])
def test_an_exchange_gives_way_to_a_stop_between_two_requests(protocol: str, tmp_path: Path) -> None:
    with device(tmp_path, protocol) as (ladder, actuator):
        for requests in range(5):
            left = iter([False] * requests)
            with pytest.raises(GaveWayError):
                actuator.exchange(RUN, lambda: None, lambda left=left: next(left, True))  # type: ignore[misc]
            assert matches(HOLD, actuator.exchange(HOLD, lambda: None))
            assert matches(RUN, actuator.exchange(RUN, lambda: None))
        assert ladder.stops == 5


def test_a_write_asks_the_lease_again_before_it_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device may say that it is busy for as long as the time-out, and the line be another worker's by then."""
    send = ServerRequestHandler.server_send
    taken: list[int] = []

    def busy(handler: Any, pdu: Any, addr: Any) -> None:
        taken.append(pdu.function_code)
        send(
            handler, ExceptionResponse(pdu.function_code, 6, device_id=pdu.dev_id, transaction=pdu.transaction_id), addr
        )

    def lost_once_it_was_asked() -> None:
        if taken:
            raise LeaseLostError

    monkeypatch.setattr(ServerRequestHandler, "server_send", busy)
    with device(tmp_path) as (_, actuator), pytest.raises(LeaseLostError):
        actuator.exchange(HOLD, lost_once_it_was_asked)
    assert len(taken) == 1


def test_whoever_loses_the_line_between_two_coils_writes_the_second_no_more(tmp_path: Path) -> None:
    """At slow remote I/O it gave the run permit back, a second after its successor had taken it with a stop."""
    with device(tmp_path, "coils") as (ladder, actuator):
        actuator.exchange(HOLD, lambda: None)

        def lost_once_the_stop_is_gone() -> None:
            if not ladder.stop:
                raise LeaseLostError

        with pytest.raises(LeaseLostError):
            actuator.exchange(RUN, lost_once_the_stop_is_gone)
        assert (ladder.stop, ladder.permit) == (False, False)


def test_a_stop_that_is_void_after_its_first_coil_is_written_whole(tmp_path: Path) -> None:
    """Half of one would hold the line, and prove nothing."""
    with device(tmp_path, "coils") as (ladder, actuator):

        def void_once_the_stop_stands() -> None:
            if ladder.stop:
                raise ActuatorError("void")

        assert matches(HOLD, actuator.exchange(HOLD, void_once_the_stop_stands))


def test_a_write_asks_the_lease_again_before_it_leaves_by_another_connection(answers: Any, tmp_path: Path) -> None:
    """To hand the device the rest of a stop takes another connection, which may take its time."""
    answers(_at_once)
    with device(tmp_path, "coils") as (ladder, actuator):

        def lost_once_the_stop_stands() -> None:
            if ladder.stop:
                raise LeaseLostError

        with pytest.raises(LeaseLostError):
            actuator.exchange(HOLD, lost_once_the_stop_stands)
        assert (ladder.stop, ladder.permit) == (True, True)


def test_a_device_that_listens_for_one_connection_at_a_time_is_waited_for(tmp_path: Path) -> None:
    """Small ones open their socket anew after each: for a moment nobody listens."""
    (port,) = free_ports(1)
    ended = threading.Event()
    refused = 0

    def one_after_the_other(to: int) -> None:
        while not ended.is_set():
            with socket.create_server(("127.0.0.1", port)) as listener:
                listener.settimeout(0.2)
                with suppress(TimeoutError), listener.accept()[0] as asking:
                    listener.close()
                    with socket.create_connection(("127.0.0.1", to)) as plc, suppress(OSError):
                        plc.sendall(asking.recv(260))
                        asking.sendall(plc.recv(260))
            time.sleep(0.05)

    ladder, (plc_port,) = Ladder(LINE), free_ports(1)
    with Station([ladder], modbus_port=plc_port):
        gateway = threading.Thread(target=one_after_the_other, args=(plc_port,))
        gateway.start()
        actuator = open_actuator(LINE, config("modbus", port, tmp_path))
        try:
            while True:
                try:
                    found = actuator.exchange(HOLD, lambda: None)
                    break
                except ActuatorError:  # it may not listen yet
                    refused += 1
                    assert refused < 50
                    time.sleep(0.02)
            assert matches(HOLD, found), found
        finally:
            actuator.close()
            ended.set()
            gateway.join(5)


def test_what_is_written_to_one_of_two_devices_of_a_name_is_not_proved_by_the_other(
    answers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name may lead to two, and a closed connection would else let the other answer for it."""
    answers(_at_once)
    (port,) = free_ports(1)
    first, second = Ladder(LINE), Ladder(LINE, stuck=True)
    asked = config("modbus", port, tmp_path).model_copy(update={"host": "plc.of.a.plant"})
    found_at = ["127.0.0.1", "127.0.0.2"]
    resolve = socket.getaddrinfo

    def in_turns(host: Any, *arguments: Any, **options: Any) -> Any:
        if host == "plc.of.a.plant":
            host = found_at[0]
            found_at.reverse()
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", in_turns)
    with Station([first], "127.0.0.1", modbus_port=port), Station([second], "127.0.0.2", modbus_port=port):
        actuator = open_actuator(LINE, asked)
        try:
            for image in (RUN, HOLD, RUN, HOLD):
                assert matches(image, actuator.exchange(image, lambda: None))
            assert len(first.written) == 4
            assert not second.written
        finally:
            actuator.close()


def test_a_device_that_never_answers_before_it_closes_is_told_so_and_not_asked_for_ever(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = 0

        def hang_up() -> None:
            nonlocal taken
            with suppress(OSError):
                while True:
                    listener.accept()[0].close()
                    taken += 1

        threading.Thread(target=hang_up, daemon=True).start()
        actuator = open_actuator(LINE, config("modbus", listener.getsockname()[1], tmp_path))
        with pytest.raises(ActuatorError, match="closed the connection instead of answering"):
            actuator.exchange(HOLD, lambda: None)
        assert taken <= 2


def test_a_device_that_answers_under_no_number_proves_nothing_and_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was told as one of another unit, and somebody would look for that."""
    send = ServerRequestHandler.server_send

    def without_number(handler: Any, pdu: Any, addr: Any) -> None:
        pdu.transaction_id = 0
        send(handler, pdu, addr)

    monkeypatch.setattr(ServerRequestHandler, "server_send", without_number)
    with device(tmp_path) as (_, actuator), pytest.raises(ActuatorError, match="without the number of the request"):
        actuator.exchange(HOLD, lambda: None)


@pytest.fixture
def a_thousand_descriptors() -> Iterator[None]:
    """Taken, as by a worker of some hundred PLCs: each that is opened from now on has a number above 1023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    with ExitStack() as taken:
        taken.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1024):
            taken.enter_context(Path("/dev/null").open("rb"))
        yield


def test_a_stop_is_written_and_proved_by_a_worker_of_very_many_plcs(
    a_thousand_descriptors: None, unused_port: int, tmp_path: Path
) -> None:
    """'It closed the connection instead of answering', it said of each."""
    ladder = Ladder(LINE)
    with Station([ladder], modbus_port=unused_port):
        actuator = open_actuator(LINE, config("modbus", unused_port, tmp_path))
        assert matches(HOLD, actuator.exchange(HOLD, lambda: None))
        assert matches(HOLD, actuator.read())
        actuator.close()
    assert ladder.stop
