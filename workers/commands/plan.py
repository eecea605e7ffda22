"""`andon plan`: how much of everything a factory needs."""

from typing import Annotated

import typer

from workers.commands.wide_console import wide_console


def plan(
    cameras: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many cameras.")],
    fps: Annotated[float, typer.Option(min=0.001, max=100_000, help="Frames a second of one camera.")],
    frame_kb: Annotated[float, typer.Option(min=0.1, max=1_000_000, help="One encoded frame, in kB.")],
    model_ms: Annotated[
        float,
        typer.Option(min=0.01, max=1_000_000, help="One frame in the model, in a full batch, on one replica."),
    ],
    replicas_per_gpu: Annotated[int, typer.Option(min=0, max=64, help="0: no GPUs.")] = 1,
    retention_h: Annotated[float, typer.Option(min=0.1, max=100_000, help="How long Kafka keeps frames.")] = 6,
    map_ttl_s: Annotated[int, typer.Option(min=1, max=1_000_000_000, help="How long Redis keeps maps.")] = 3600,
    map_kb: Annotated[
        float,
        typer.Option(
            min=0.1, max=1_000_000, help="One map in Redis, in kB: about 1 for 300 × 300 px, 45 for 2000 × 2000."
        ),
    ] = 9,
    nic_gbit: Annotated[float, typer.Option(min=0.1, max=1_000_000, help="Network card of one server.")] = 10,
    broker_disk_gib: Annotated[float, typer.Option(min=1, max=1_000_000_000, help="Disk of one broker.")] = 4000,
    redis_gib: Annotated[float, typer.Option(min=0.1, max=1_000_000, help="Memory of one Redis.")] = 64,
    as_values: Annotated[bool, typer.Option("--values", help="Print values for the two charts instead.")] = False,
) -> None:
    """Say what a factory needs, and what is full first when it grows.

    Example: andon plan --cameras 100 --fps 10 --frame-kb 100 --model-ms 5

    docs/scaling.md has the formulas, and how model-ms and map-kb are measured.
    """
    from pipeline.sizing import Machine, Workload, limits
    from pipeline.sizing import plan as make_plan

    work = Workload(
        cameras,
        fps,
        int(frame_kb * 1000),
        model_ms,
        replicas_per_gpu=replicas_per_gpu,
        retention_h=retention_h,
        map_bytes=int(map_kb * 1000),
        map_ttl_s=map_ttl_s,
    )
    machine = Machine(nic_gbit, broker_disk_gib, redis_gib)
    if as_values:
        from workers.planning import chart_values

        made = make_plan(work, machine)
        for warning in made.warnings:
            typer.echo(f"andon: {warning}", err=True)
        typer.echo(chart_values(work, made), nl=False)
        return
    from workers.planning import limits_table, needs_table

    console = wide_console()
    console.print(needs_table(work, made := make_plan(work, machine)))
    for warning in made.warnings:
        console.print(f"[yellow]{warning}")
    console.print(limits_table(work, limits(work, machine)))
