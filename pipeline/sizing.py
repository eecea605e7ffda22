"""How much of everything a factory needs: a few formulas, and the measured figures that they rest on.

docs/scaling.md tells where each figure comes from, and how to measure your own replica. All are of this program, not of
a vendor.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.counting import figure
from pipeline.topics import MAX_FRAME_BYTES, Topic, topics

GIB = 1024**3
_GBIT_BYTES_S = 125_000_000

REPLICA_OVERHEAD_MS = 3.3
"""Of a frame in a replica besides the model: poll, decode, Redis, Kafka, commit. Without a model it is 2.5 ms (396
frames/s), but beside RADAR, which wants the same cores, 7 ms of 65 in one process and 7.5 of 59 in Ray Serve."""
FRAME_ENVELOPE_BYTES = 700
"""Headers and record of a frame."""
MAP_ENTRY_OVERHEAD_BYTES = 700
"""Of one frame in Redis besides its map and its thumbnail: facts, key, expiry."""
REDIS_FRAMES_S = 15_000
"""What one Redis takes from all replicas together: 64 frames in one pipeline took 3.6 ms, so 17,800 a second."""
BROKER_PARTITIONS = 4_000
"""Copies of partitions that one broker holds comfortably (Kafka's own advice)."""
PARTITION_BYTES_S = 10_000_000
"""What one partition carries without a thought; measured producers do eight times that into one."""
BUSY = 0.7
"""How full replicas, network cards and Redis are planned to be."""


@dataclass(frozen=True)
class Workload:
    cameras: int
    fps: float
    """Frames a second of one camera."""
    frame_bytes: int
    model_ms: float
    """One frame in the model, in a full batch, on one replica's share of a GPU (or on its cores)."""
    replicas_per_gpu: int = 1
    """0: no GPUs."""
    retention_h: float = 6
    """How long Kafka keeps frames."""
    replication: int = 3
    map_bytes: int = 9_000
    thumbnail_bytes: int = 5_000
    map_ttl_s: int = 3600
    outage_min: float = 30
    """An outage of Kafka that the cameras' disks must bridge."""

    @property
    def frames_s(self) -> float:
        return self.cameras * self.fps

    @property
    def bytes_s(self) -> float:
        return self.frames_s * (self.frame_bytes + FRAME_ENVELOPE_BYTES)


@dataclass(frozen=True)
class Machine:
    """What one server offers."""

    nic_gbit: float = 10
    broker_disk_gib: float = 4_000
    redis_gib: float = 64

    @property
    def nic_bytes_s(self) -> float:
        return self.nic_gbit * _GBIT_BYTES_S * BUSY


@dataclass(frozen=True)
class Plan:
    """What the workload needs. Bytes a second are of the whole factory unless said otherwise."""

    replicas: int
    gpus: int
    frame_partitions: int
    frames_gib_per_partition: int
    """What `frames` may keep, for its retention and a busy hour."""
    brokers: int
    broker_disk_gib: float
    """Each."""
    broker_in_bytes_s: float
    """Each, from cameras and from other brokers."""
    broker_out_bytes_s: float
    redis_gib: float
    redis_servers: int
    spool_gib_per_camera: float
    warnings: tuple[str, ...] = ()


def replica_frames_s(model_ms: float) -> float:
    """What one replica scores in a second, always busy."""
    return 1000 / (model_ms + REPLICA_OVERHEAD_MS)


def plan(work: Workload, machine: Machine = Machine()) -> Plan:
    replicas = math.ceil(work.frames_s / (replica_frames_s(work.model_ms) * BUSY))
    # Twice the replicas, so that they can be doubled, and the loads of partitions even out.
    partitions = max(8, 2 * replicas, math.ceil(work.bytes_s / PARTITION_BYTES_S))
    frames_gib = max(1, math.ceil(work.bytes_s * work.retention_h * 3600 / BUSY / partitions / GIB))
    frames_bytes = partitions * (frames_gib * GIB + topics().frames.segment_bytes)
    stored = (frames_bytes + _other_bytes(partitions)) * work.replication
    redis_bytes = work.frames_s * work.map_ttl_s * _map_entry_bytes(work)
    brokers = max(
        work.replication,
        math.ceil(work.bytes_s * work.replication / machine.nic_bytes_s),
        math.ceil(stored / (machine.broker_disk_gib * GIB)),
        math.ceil(partitions * work.replication / BROKER_PARTITIONS),
    )
    redis_servers = max(
        math.ceil(work.frames_s / REDIS_FRAMES_S),
        math.ceil(redis_bytes / (machine.redis_gib * GIB * BUSY)),
        math.ceil(work.frames_s * (work.map_bytes + work.thumbnail_bytes) / machine.nic_bytes_s),
    )
    return Plan(
        replicas=replicas,
        gpus=math.ceil(replicas / work.replicas_per_gpu) if work.replicas_per_gpu else 0,
        frame_partitions=partitions,
        frames_gib_per_partition=frames_gib,
        brokers=brokers,
        broker_disk_gib=stored / brokers / GIB,
        broker_in_bytes_s=work.bytes_s * work.replication / brokers,
        broker_out_bytes_s=work.bytes_s * work.replication / brokers,  # to followers, and once to a replica
        redis_gib=redis_bytes / GIB / BUSY,
        redis_servers=redis_servers,
        spool_gib_per_camera=work.fps * work.frame_bytes * work.outage_min * 60 / GIB,
        warnings=tuple(_warnings(work, partitions, redis_servers)),
    )


def _map_entry_bytes(work: Workload) -> int:
    return work.map_bytes + work.thumbnail_bytes + MAP_ENTRY_OVERHEAD_BYTES


def _other_bytes(frame_partitions: int) -> int:
    """What the topics besides `frames` may hold, once: a disk that they fill stops the broker, frames and all."""
    found = topics(frame_partitions=frame_partitions)
    return sum(_most_bytes(topic) for topic in found if topic is not found.frames)


def _most_bytes(topic: Topic) -> int:
    """Kafka deletes whole files, so a partition holds one beyond its limit. Without a limit: as much as its like."""
    limit = topic.retention_bytes if topic.retention_bytes >= 0 else topics().alarms.retention_bytes
    return topic.partitions * (limit + topic.segment_bytes)


def _warnings(work: Workload, partitions: int, redis_servers: int) -> Sequence[str]:
    found = []
    if work.frame_bytes > MAX_FRAME_BYTES:
        found.append(
            f"a frame of {work.frame_bytes / 1000:,.0f} kB is refused: cameras and replicas take at most "
            f"{MAX_FRAME_BYTES / 1000:,.0f} kB. Encode it as JPEG, or cut it"
        )
    alone = replica_frames_s(work.model_ms)
    if work.fps > alone * BUSY:
        found.append(
            f"one camera sends {work.fps:g} frames/s, and one replica scores {figure(alone)}: a camera's frames all "
            "go to one replica, so no number of replicas helps. A faster model, or fewer frames"
        )
    if partitions > 10_000:
        found.append(
            f"{partitions} partitions are more than a factory takes (10,000): split it into several, each with a topic "
            "prefix or a Kafka of its own"
        )
    if redis_servers > 1:
        found.append(
            f"the maps need {redis_servers} Redis servers, and a replica writes to one: shorten map_ttl_s, or split "
            "the factory into as many"
        )
    return found


@dataclass(frozen=True)
class Limit:
    """How far one unit of something carries a factory of such cameras."""

    what: str
    cameras: int
    then: str


def limits(work: Workload, machine: Machine = Machine()) -> list[Limit]:
    """What is full first, in order."""
    replica = replica_frames_s(work.model_ms) * BUSY
    per_gpu = max(1, work.replicas_per_gpu)
    frame = work.frame_bytes + FRAME_ENVELOPE_BYTES
    brokers = work.replication
    entry = _map_entry_bytes(work)
    # A partition more for each replica more, twice, and all that may lie in it besides its frames.
    beside = _other_bytes(8)
    partition = _other_bytes(9) - beside + topics().frames.segment_bytes
    disk_s = work.retention_h * 3600 * frame / BUSY + partition * 2 / replica
    found = [
        ("one GPU" if work.replicas_per_gpu else "one replica", replica * per_gpu, "another, up to the partitions"),
        (f"the network cards of {brokers} brokers", machine.nic_bytes_s / frame, "another broker"),
        (
            f"the disks of {brokers} brokers",
            max(0, machine.broker_disk_gib * GIB - beside) / disk_s,
            "another broker, or shorter retention",
        ),
        ("one Redis: commands", REDIS_FRAMES_S, "split the factory"),
        (
            "one Redis: memory",
            machine.redis_gib * GIB * BUSY / (work.map_ttl_s * entry),
            "a shorter map_ttl_s, or split the factory",
        ),
        ("one Redis: network card", machine.nic_bytes_s / entry, "split the factory"),
        ("8 partitions", 8 / 2 * replica, "more partitions before more replicas"),
        ("10,000 partitions", 10_000 / 2 * replica, "split the factory"),
    ]
    return sorted(
        (Limit(what, int(frames_s / work.fps), then) for what, frames_s, then in found), key=lambda limit: limit.cameras
    )
