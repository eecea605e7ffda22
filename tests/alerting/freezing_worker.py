"""A worker that freezes at the worst moment: after its last look, before the first byte of a stop leaves."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from pipeline.files.config import read_config
from pipeline.settings import Settings
from workers.alerting import service
from workers.alerting.actuators import modbus
from workers.alerting.actuators.base import Guard, Image
from workers.alerting.plcs import plant
from workers.alerting.policy import Policies


class FreezingActuator(modbus.ModbusActuator):
    def _write(self, image: Image, again: Guard) -> None:
        if image.stop:
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(0.2)  # another thread may be the one that takes the signal
        super()._write(image, again)


plant.open_actuator = lambda line_id, config, clock: FreezingActuator(config)  # type: ignore[assignment,arg-type]
plant.Plant.__init__.__kwdefaults__["open_"] = plant.open_actuator
service.run(Settings(), read_config(Path(sys.argv[1]), Policies), threading.Event())
