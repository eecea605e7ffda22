"""The person at every line, who never tires: acknowledges and resets each stop once it is read back, and frees the line
at the PLC. A stop latches; without this a line would give one sample and no more."""

import logging
import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

from pymodbus import ModbusException
from pymodbus.client import ModbusTcpClient

from pipeline.events import Act, Action, CommandReply, Operation, Outcome, now
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.reading import follow
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings
from workers.plc.modbus_side import RESET_BUTTON, START_BUTTON

log = logging.getLogger(__name__)

_ASK_AGAIN_S = 1.0
"""A bad part between acknowledgement and reset, and the reset is refused: then both are asked for again."""


class Attendant:
    """`replies` grows with every answer of a PLC. Works behind the measured way: after the read-back, before the next
    burst."""

    def __init__(self, settings: Settings, modbus_port: int, lines: list[str]) -> None:
        self.replies: list[CommandReply] = []
        self._settings = settings
        self._lines = lines
        self._client = ModbusTcpClient("127.0.0.1", port=modbus_port, timeout=2, retries=1)
        self._publisher = Publisher(settings, "bench-attendant")
        self._stop = threading.Event()
        self._asked_at_s: dict[str, float] = {}
        """Line that stands → when its reset was asked for last."""
        self._pool = ThreadPoolExecutor(2, "attendant")
        self._at_work: list[Future[None]] = []

    def __enter__(self) -> "Attendant":
        self._at_work = [self._pool.submit(run) for run in (self._run, self._ask_again)]
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        self._publisher.close()
        self._client.close()
        for done in self._at_work if failed is None else ():
            done.result()  # without it lines stood for good, gave no more samples, and the goal was met

    def _run(self) -> None:
        topic = self._settings.topics.command_replies.name
        for record in follow(self._settings, [topic], self._stop, from_beginning=True):
            reply = CommandReply.from_json(record.value)
            self.replies.append(reply)
            if reply.action is Action.UNHOLD_PERMITTED:
                self._asked_at_s.pop(reply.line_id, None)
                self._free(reply.line_id)
            elif reply.outcome in (Outcome.ACCEPTED, Outcome.DUPLICATE):
                self._ask(reply.line_id)

    def _ask_again(self) -> None:
        while not self._stop.wait(0.2):
            for line_id, asked_at_s in list(self._asked_at_s.items()):
                if time.monotonic() - asked_at_s > _ASK_AGAIN_S:
                    self._ask(line_id)

    def _ask(self, line_id: str) -> None:
        self._asked_at_s[line_id] = time.monotonic()
        self._publisher.publish([self._asked(line_id, act) for act in (Act.ACKNOWLEDGE, Act.RESET)])

    def _asked(self, line_id: str, act: Literal[Act.ACKNOWLEDGE, Act.RESET]) -> Outgoing:
        operation = Operation(
            operation_id=uuid.uuid4(),
            line_id=line_id,
            act=act,
            actor="attendant",
            role="operator",
            reason="benchmark",
            asked_at=now(),
        )
        return Outgoing(self._settings.topics.operations.name, line_id.encode(), operation.to_json())

    def _free(self, line_id: str) -> None:
        unit = self._lines.index(line_id) + 1
        try:
            if self._client.connected or self._client.connect():
                for button in (RESET_BUTTON, START_BUTTON):
                    _pressed: Any = self._client.write_coil(button, True, device_id=unit)
        except ModbusException as error:
            log.warning("line %s was not freed: %s", line_id, error)
