"""The ladders behind an OPC UA server: one object a line, its variables as `ns=2;s=<line>.<Name>`."""

from collections.abc import Mapping
from typing import Any

from asyncua import Server, ua

from workers.plc.ladder import Inputs, Ladder

NAMESPACE = "urn:andon:simulated-plc"
_WRITTEN = {
    "Epoch": ua.VariantType.UInt32,
    "Heartbeat": ua.VariantType.UInt16,
    "Command": ua.VariantType.UInt16,
    "RunPermit": ua.VariantType.Boolean,
}
_SHOWN = ("Stop", "Reject", "Held", "Running", "WatchdogLost")
_BUTTONS = ("Reset", "Start")


class OpcUaSide:
    """`scan` takes what was written and shows what the ladder says; the caller repeats it."""

    def __init__(self, ladders: Mapping[str, Ladder], host: str, port: int) -> None:
        self._ladders = ladders
        self._url = f"opc.tcp://{host}:{port}/andon"
        self._server = Server()
        self._nodes: dict[str, dict[str, Any]] = {}
        self._seen: dict[str, Inputs] = {}
        """What the nodes of a line held after the last scan."""
        self._shown: dict[str, tuple[bool, ...]] = {}

    async def start(self) -> None:
        await self._server.init()
        self._server.set_endpoint(self._url)
        self._server.set_server_name("Andon simulated PLC")
        self._server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        namespace = await self._server.register_namespace(NAMESPACE)
        for line_id, ladder in self._ladders.items():
            folder = await self._server.nodes.objects.add_object(namespace, line_id)
            nodes = self._nodes[line_id] = {}
            for name, kind in _WRITTEN.items():
                initial = ladder.wire("run_permit", True) if kind is ua.VariantType.Boolean else 0
                nodes[name] = await self._add(folder, namespace, line_id, name, initial, kind)
            for name in _SHOWN + _BUTTONS:
                nodes[name] = await self._add(folder, namespace, line_id, name, False, ua.VariantType.Boolean)
            for name in (*_WRITTEN, *_BUTTONS):
                await nodes[name].set_writable()
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop()

    async def scan(self) -> None:
        for line_id, ladder in self._ladders.items():
            nodes = self._nodes[line_id]
            epoch, heartbeat, command, permit = [await nodes[name].read_value() for name in _WRITTEN]
            new = Inputs(epoch, heartbeat, command, ladder.wire("run_permit", permit))
            # Only what a client has changed is a write. Otherwise the nodes follow: the line may be driven by Modbus.
            if new != self._seen.get(line_id, Inputs()):
                ladder.write(new)
            was = self._seen[line_id] = ladder.inputs
            if was != new:
                written = (was.epoch, was.heartbeat, was.command, ladder.wire("run_permit", was.permit))
                for name, value in zip(_WRITTEN, written, strict=True):
                    await nodes[name].write_value(value, _WRITTEN[name])
            for name, press in (("Reset", ladder.press_reset), ("Start", ladder.press_start)):
                if await nodes[name].read_value():
                    press()
                    await nodes[name].write_value(False)
            wired = (ladder.wire(name, getattr(ladder, name)) for name in ("stop", "reject", "held"))
            shown = (*wired, ladder.running, ladder.watchdog_lost)
            if shown != self._shown.get(line_id):  # fifty scans a second would otherwise write what stands there
                for name, value in zip(_SHOWN, shown, strict=True):
                    await nodes[name].write_value(value)
                self._shown[line_id] = shown

    async def _add(
        self, folder: Any, namespace: int, line_id: str, name: str, initial: Any, kind: ua.VariantType
    ) -> Any:
        node_id = ua.NodeId(f"{line_id}.{name}", namespace)
        return await folder.add_variable(node_id, ua.QualifiedName(name, namespace), initial, kind)
