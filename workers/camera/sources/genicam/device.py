"""Finds a camera, sets it up, and starts it. Only reader processes import this."""

import ctypes
import logging
import os
import re
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from genicam import genapi, gentl
from harvesters.core import Harvester, ParameterKey, ParameterSet

from workers.camera.config import Feature, GenicamSource

GENICAM_ERRORS = (gentl.GenericException, genapi.GenericException)
_BUFFERS = 8
"""Pictures that the producer may hold for us."""
_SEARCH_PATH = "GENICAM_GENTL64_PATH"
_COMMAND_S = 10.0
"""What a user set takes to be loaded, and then some."""
_MODE = "AcquisitionMode"
_KEYS = {"serial_number": "serial_number", "user_defined_name": "user_defined_name", "id": "id_", "model": "model"}
"""What tells cameras apart: as in the configuration, and as harvesters calls it."""


class Fault(Exception):
    """Why this camera can't be read, and what to do."""


class Device:
    """The one camera of this process. Its makers' code may hang in each call, closing as well."""

    def __init__(self, source: GenicamSource) -> None:
        self._source = source
        self._told: deque[str] = deque(maxlen=3)
        """What harvesters logs: where a producer can't be opened, it goes on."""
        self._harvester = Harvester(config=ParameterSet({ParameterKey.LOGGER: _logger(self._told)}))

    def start(self) -> Any:
        """The `ImageAcquirer` of a camera that takes pictures. Raises Fault, or one of GENICAM_ERRORS."""
        for path in _producers(self._source):
            fault = _unfit(path)
            if fault is None:
                self._harvester.add_file(str(path))
            elif self._source.producer:
                raise Fault(fault)
            else:
                self._told.append(fault)
        self._harvester.update()
        found = _the_one(self._source, self._harvester.device_info_list, self._told)
        try:
            camera = self._harvester.create(found, config=_settings())
        except (gentl.AccessDeniedException, gentl.ResourceInUseException) as error:
            raise Fault(
                f"{_shown(found)} is held by another program ({words(error)}); where that was killed, a camera of GigE "
                "Vision is free again after some seconds"
            ) from error
        if len(camera.data_streams) != 1:
            raise Fault(f"{_shown(found)} has {len(camera.data_streams)} data streams, and one can be read")
        camera.num_buffers = max(_BUFFERS, camera.min_num_buffers)
        nodes = camera.remote_device.node_map
        _free(nodes)
        for name, value in self._source.feature_list:
            set_feature(nodes, name, value)
        if _MODE not in dict(self._source.feature_list):
            _run_on(nodes)
        camera.start()
        return camera

    def close(self) -> None:
        self._harvester.reset()


def words(error: Exception) -> str:
    """Without where in their code."""
    told = re.sub(r"\s*:\s*\w+Exception thrown in.*", "", str(error), flags=re.DOTALL).strip(" .")
    return told or type(error).__name__


def _settings() -> ParameterSet:
    # No wait within the bindings: they keep Python's lock meanwhile.
    return ParameterSet(
        {ParameterKey.ENABLE_AUTO_CHUNK_DATA_UPDATE: False, ParameterKey.TIMEOUT_PERIOD_ON_UPDATE_EVENT_DATA_CALL: 0}
    )


def _logger(told: deque[str]) -> logging.Logger:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    logger = logging.getLogger("andon.harvesters")
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    logger.addHandler(Handler())
    return logger


def _producers(source: GenicamSource) -> list[Path]:
    if source.producer:
        return [source.producer]
    folders = [Path(folder) for folder in os.environ.get(_SEARCH_PATH, "").split(os.pathsep) if folder]
    found = sorted(path for folder in folders for path in folder.glob("*.cti"))
    if not found:
        where = f"there is none in {_SEARCH_PATH}" if folders else f"{_SEARCH_PATH} is not set"
        raise Fault(f"no GenTL producer: name the camera maker's .cti file in source.producer ({where})")
    return found


def _unfit(producer: Path) -> str | None:
    """Why it can't be used, where that can be seen from outside. The bindings crash on what is no producer."""
    if not producer.is_file():
        return f"producer {producer} does not exist; name the .cti file that came with the camera"
    try:
        library = ctypes.CDLL(str(producer.absolute()))
    except OSError as error:
        return f"producer {producer} can't be loaded: {error}"
    return None if hasattr(library, "GCInitLib") else f"{producer} is no GenTL producer"


def _the_one(source: GenicamSource, devices: list[Any], told: deque[str]) -> Any:
    wanted = source.device.model_dump(exclude_none=True)
    found = [each for each in devices if all(_fact(each, key) == value for key, value in wanted.items())]
    if len(found) == 1:
        return found[0]
    asked = ", ".join(f"{key} {value!r}" for key, value in wanted.items()) or "any"
    there = "; ".join(map(_shown, devices)) or "none" + (f" ({'; '.join(told)})" if told else "")
    if found:
        raise Fault(
            f"{len(found)} cameras fit ({asked}); say which by source.device.serial_number or, where two makers' "
            f"producers see the same camera, by source.producer. There are: {there}"
        )
    raise Fault(f"no camera fits ({asked}). There are: {there}")


def _fact(device: Any, key: str) -> str | None:
    try:
        value = getattr(device, _KEYS[key])
    except gentl.GenericException:
        return None
    return str(value) if value else None


def _shown(device: Any) -> str:
    return ", ".join(f"{key} {value!r}" for key in _KEYS if (value := _fact(device, key)))


def _free(nodes: Any) -> None:
    """A camera that nobody told to stop, as one of USB3 Vision whose reader was killed, takes no features."""
    with suppress(*GENICAM_ERRORS, AttributeError):
        nodes.AcquisitionStop.execute()
    with suppress(*GENICAM_ERRORS, AttributeError):
        nodes.TLParamsLocked.value = 0


def _run_on(nodes: Any) -> None:
    """Once all else is set: a user set may hold SingleFrame, and there would be one picture and no more."""
    with suppress(*GENICAM_ERRORS, AttributeError):
        if nodes.get_node(_MODE).value == "Continuous":
            return
        nodes.get_node(_MODE).value = "Continuous"


def set_feature(nodes: Any, name: str, value: Feature) -> None:
    """Raises Fault."""
    if not nodes.has_node(name):
        raise Fault(f"features.{name}: the camera has no such feature")
    node = nodes.get_node(name)
    try:
        _set(node, value)
    except (*GENICAM_ERRORS, TypeError, ValueError) as error:
        choices = f"; it may be {', '.join(node.symbolics)}" if isinstance(node, genapi.IEnumeration) else ""
        raise Fault(f"features.{name}: {value!r} is refused: {words(error)}{choices}") from error


def _set(node: Any, value: Feature) -> None:
    if isinstance(node, genapi.ICommand):
        _execute(node)
    elif isinstance(node, genapi.IEnumeration):
        # YAML reads On and Off as true and false.
        node.value = ("On" if value else "Off") if isinstance(value, bool) else str(value)
    elif isinstance(node, genapi.IString):
        node.value = str(value)
    elif isinstance(node, genapi.IInteger):
        node.value = int(value) if isinstance(value, float) and value.is_integer() else value
    elif isinstance(node, genapi.IFloat | genapi.IBoolean):
        node.value = value
    else:  # of others the bindings take any value, and do nothing with it
        raise TypeError("it is none that can be set")


def _execute(command: Any) -> None:
    command.execute()
    until_s = time.monotonic() + _COMMAND_S
    while not command.is_done():
        if time.monotonic() > until_s:
            raise ValueError(f"the command was not done after {_COMMAND_S:g} s")
        time.sleep(0.01)
