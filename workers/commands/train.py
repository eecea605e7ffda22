"""`andon train …`: from a folder of images of good parts to a model bundle."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

train = typer.Typer(
    help="Learn what normal looks like from images of good parts alone, and write a model bundle.", no_args_is_help=True
)


@train.callback()
def _methods() -> None:
    """One sub-command per method."""


@train.command()
def radar(
    data: Annotated[
        Path,
        typer.Option(help="Images of good parts: MVTec's layout (train/good below it) or a plain folder. Sorted names must follow production order."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the bundle to write.")],
    name: Annotated[str, typer.Option(help="Name of the model on events and screens; the folder's name when left out.")] = "",
    steps: Annotated[int, typer.Option(min=1, help="Training steps of 16 patches.")] = 1500,
    epochs: Annotated[float, typer.Option(min=0, help="In place of --steps: passes over the images the network is fitted on.")] = 0,
    minutes: Annotated[float, typer.Option(min=0, help="Stop training after so many minutes, if the steps take longer. 0: no limit.")] = 0,
    seed: Annotated[int, typer.Option(help="Decides every draw. On a CPU the same seed gives the same bundle.")] = 0,
    false_alarm_rate: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Share of good parts that may be called NOT_OK. 0.01 takes about 330 images.")
    ] = 0.01,
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Go on from the checkpoint beside --out, if it is of this very run; or start over.")
    ] = True,
    device: Annotated[str, typer.Option(help="auto (a GPU when there is one), cpu or cuda.")] = "auto",
) -> None:
    """Train RADAR: a small diffusion U-Net that is asked once per frame, and an Isolation Forest on its answer.

    The images are shared out by contiguous blocks of file names: 45 % teach the network, 15 % the forest, 30 % set the
    threshold, 10 % check the result with synthetic defects. A training that was killed goes on when the same command
    is given again.

    Example: andon dataset elpv --out cells && andon train radar --data cells/mono --out mono-radar
    """
    import shutil
    from dataclasses import replace

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from pipeline.detectors.registry import torch_device
    from pipeline.training.calibrate import CalibrationError
    from pipeline.training.checkpoint import Progress as Reached
    from pipeline.training.data import DataError, find_layout
    from pipeline.training.noise_training import NoisePlan
    from pipeline.training.radar import RadarPlan, train_radar
    from pipeline.training.split import Shares

    console = Console()
    checkpoint = out.with_name(out.name + ".checkpoint")
    if not resume:
        shutil.rmtree(checkpoint, ignore_errors=True)
    try:
        noise = NoisePlan(steps=steps, max_seconds=minutes * 60 or None, seed=seed)
        if epochs:
            fitted = len(find_layout(data).normals) * Shares().fit
            noise = replace(noise, steps=max(1, round(epochs * fitted / noise.batch)))
        plan = RadarPlan(noise=noise, false_alarm_rate=false_alarm_rate)
        columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("loss {task.fields[loss]:.4f}"), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("training", total=noise.steps, loss=float("nan"))

            def show(reached: Reached) -> None:
                bar.update(task, completed=reached.step, loss=reached.loss)

            info = train_radar(
                data, out, name or out.name, plan, torch_device(device), _command(), checkpoint, show, lambda text: console.print(text)
            )
    except (DataError, CalibrationError) as error:
        typer.echo(f"andon train radar: {error}", err=True)
        raise typer.Exit(2) from error
    shutil.rmtree(checkpoint, ignore_errors=True)
    console.print(f"wrote {out}: threshold {info.calibration.threshold:.4f}, model {info.model_hash}")
    console.print(f"next: andon evaluate {out} --data {data}")


def _command() -> str:
    """The command as typed, for the model card."""
    return shlex.join(["andon", *sys.argv[1:]])
