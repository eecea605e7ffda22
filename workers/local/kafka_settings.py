"""How the local broker is set up: one node that is both broker and controller, small enough for a laptop."""

from dataclasses import dataclass
from pathlib import Path

from workers.local.ports import LOOPBACK

MIB = 1024 * 1024

# A topic's own limit decides; this is the most that any topic of this broker may be given.
MESSAGE_MAX_BYTES = 16 * MIB

# Measured with 2 MB records: the heap holds them with room to spare, and the caps keep the rest from growing slowly.
JVM_OPTIONS = (
    "-Xmx256m",
    "-Xss512k",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:MaxMetaspaceSize=96m",
    "-XX:ReservedCodeCacheSize=48m",
    "-XX:MaxDirectMemorySize=64m",
    "-XX:-UsePerfData",
    "-Djdk.nio.maxCachedBufferSize=262144",
    "-Djava.awt.headless=true",
    # Warnings, and the few lines that tell that a server began or ended. The settings alone are 300 lines otherwise.
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server=info",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
)


@dataclass(frozen=True)
class BrokerPorts:
    broker: int
    controller: int


def broker_properties(ports: BrokerPorts, data: Path) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{ports.broker},CONTROLLER://{LOOPBACK}:{ports.controller}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{ports.broker}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.bootstrap.servers": f"{LOOPBACK}:{ports.controller}",
        "log.dirs": str(data),
        # A topic that a typing error made has the wrong limits; ours are created on purpose.
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(MESSAGE_MAX_BYTES),
        # One node: one copy of everything.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        "group.initial.rebalance.delay.ms": "0",
        # Bounded disk: at most this and one segment for each partition, unless a topic says otherwise.
        "log.retention.bytes": str(256 * MIB),
        "log.retention.hours": "24",
        "log.retention.check.interval.ms": "30000",
        "log.segment.bytes": str(64 * MIB),
        "log.segment.delete.delay.ms": "1000",
        "log.index.size.max.bytes": str(1 * MIB),
        "offsets.topic.segment.bytes": str(16 * MIB),
        "transaction.state.log.segment.bytes": str(16 * MIB),
        # A killed broker that starts again is refused until its former session has ended: 9 s by default.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "1000",
        # Threads and buffers for one machine, not for a cluster.
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "2",
        "num.recovery.threads.per.data.dir": "1",
        "group.coordinator.threads": "1",
        "log.cleaner.dedupe.buffer.size": str(8 * MIB),
        "socket.request.max.bytes": str(64 * MIB),
    }


def as_text(properties: dict[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in properties.items())
