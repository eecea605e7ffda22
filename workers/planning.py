"""A plan for people (tables) and for the charts (values)."""

import math
from collections.abc import Sequence
from typing import Any

import yaml
from rich import box
from rich.table import Table

from pipeline.counting import counted, figure
from pipeline.sizing import Limit, Plan, Workload, replica_frames_s
from pipeline.topics import topics


def needs_table(work: Workload, plan: Plan) -> Table:
    table = Table(title=f"{work.cameras:,} cameras × {work.fps:g} frames/s", box=box.SIMPLE)
    table.add_column("what")
    table.add_column("how much", justify="right")
    table.add_column("why")
    alone = replica_frames_s(work.model_ms)
    table.add_row("frames/s", figure(work.frames_s), f"{work.bytes_s / 1e6:,.1f} MB/s into Kafka")
    table.add_row("replicas", f"{plan.replicas:,}", f"one scores {figure(alone)} frames/s, planned 70 % busy")
    if work.replicas_per_gpu:
        table.add_row("GPUs", f"{plan.gpus:,}", f"{counted(work.replicas_per_gpu, 'replica')} on each")
    table.add_row("partitions of frames", f"{plan.frame_partitions:,}", "room to double the replicas")
    table.add_row("brokers", f"{plan.brokers:,}", f"each record {work.replication} times")
    table.add_row(
        "disk a broker", f"{plan.broker_disk_gib:,.0f} GiB", f"{work.retention_h:g} h of frames, and other topics"
    )
    network = f"{figure(plan.broker_in_bytes_s / 1e6)} + {figure(plan.broker_out_bytes_s / 1e6)} MB/s"
    table.add_row("network a broker", network, "in and out")
    table.add_row("Redis memory", f"{plan.redis_gib:,.1f} GiB", f"maps of {work.map_ttl_s} s")
    table.add_row("spool a camera", f"{plan.spool_gib_per_camera:,.1f} GiB", f"{work.outage_min:g} min without Kafka")
    return table


def limits_table(work: Workload, limits: Sequence[Limit]) -> Table:
    table = Table(title="What is full first, as cameras are added", box=box.SIMPLE)
    table.add_column("full")
    table.add_column("at cameras", justify="right")
    table.add_column("then")
    for limit in limits:
        reached = limit.cameras < work.cameras
        table.add_row(limit.what, f"{limit.cameras:,}", limit.then, style="yellow" if reached else None)
    return table


def chart_values(work: Workload, plan: Plan) -> str:
    """YAML with a part for each chart; what they share is equal."""
    lines = topics().scores.partitions  # that the disks are reckoned with
    spool_mib = max(64, round(plan.spool_gib_per_camera * 1024))
    factory = {
        "kafka": {"framePartitions": plan.frame_partitions, "linePartitions": lines},
        "cameras": {"spool": {"maxMib": spool_mib}},
        "inference": {
            "mapTtlS": work.map_ttl_s,
            "autoscaling": {
                "enabled": True,
                "minReplicas": max(1, plan.replicas // 2),
                "maxReplicas": min(plan.frame_partitions, plan.replicas * 3 // 2 + 1),
            },
            **_gpu_values(work.replicas_per_gpu),
        },
    }
    kafka = {
        "brokers": {"replicas": plan.brokers, "storage": f"{math.ceil(plan.broker_disk_gib)}Gi"},
        "topics": {
            "framePartitions": plan.frame_partitions,
            "linePartitions": lines,
            "retention": {
                "frames": {
                    "hours": math.ceil(work.retention_h),
                    "gibPerPartition": plan.frames_gib_per_partition,
                }
            },
        },
    }
    return (
        "# values of the chart factory\n"
        + yaml.safe_dump(factory)
        + "---\n# values of the chart factory-kafka\n"
        + yaml.safe_dump(kafka)
    )


def _gpu_values(replicas_per_gpu: int) -> dict[str, Any]:
    """One GPU a pod, with as many cores and as much memory for each replica as the chart's default has."""
    if not replicas_per_gpu:
        return {}
    share = math.floor(10_000 / replicas_per_gpu) / 10_000  # rounded up, the last would not fit
    amounts = {"cpu": str(2 * replicas_per_gpu), "memory": f"{4 * replicas_per_gpu}Gi"}
    return {
        "replica": {"gpus": share},
        "worker": {
            "gpus": 1,
            "replicas": replicas_per_gpu,
            "resources": {"requests": dict(amounts), "limits": dict(amounts)},
        },
    }
