"""`andon predict`: verdicts, maps and overlays for a folder of images."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from workers.commands.options import Device, Runtime
from workers.commands.places import ready_folder
from workers.commands.progress import bars_on


def predict(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    folder: Annotated[Path, typer.Argument(help="Images (PNG or JPEG), also in sub-folders.")],
    out: Annotated[Path, typer.Option(help="Folder to write into.", file_okay=False)],
    maps: Annotated[
        Literal["png", "npy", "none"],
        typer.Option(help="Raw maps: 16-bit PNG, whose range is in the results, or float32 .npy."),
    ] = "png",
    overlays: Annotated[bool, typer.Option(help="Draw frame, heat map and both together.")] = True,
    device: Device = "auto",
    runtime: Runtime = "torch",
) -> None:
    """Judge every image of a folder as the stream would, and write what was found.

    Writes results.csv and results.jsonl (score, verdict, doubts and features of each image), maps/ and overlays/. Files
    that cannot be read are named, and skipped; the exit code is then 1. In results.csv a name that a spreadsheet would
    take for a formula has an apostrophe before it. A name that is too long for another ending is cut for the pictures:
    see `drawn_as` in the results. --out may hold the images: what lies in its maps/ and overlays/ is taken for the
    pictures of last time, and left out; so is what lies in folders of masks (ground_truth, masks or mask), which is
    told.

    The results grow image by image as results.csv.part and results.jsonl.part, and lose that ending with the last one:
    stopped by Ctrl-C or killed, the command leaves what it has found by then.

    Example: andon predict mono-radar photos --out judged
    """
    from collections import Counter

    from rich.console import Console

    from pipeline.counting import counted
    from pipeline.detectors.registry import load_detector
    from pipeline.files.durable import draft_of
    from pipeline.files.folders import files_below
    from pipeline.training.images.data import OTHER_PICTURES, is_named
    from pipeline.training.predict_folder import TABLE, predict_folder

    console = Console()
    ready_folder(out)
    detector = load_detector(bundle, device, runtime)
    try:
        lines = predict_folder(
            detector, folder, out, maps, overlays, bars_on(console), say=lambda note: typer.echo(note, err=True)
        )
    except KeyboardInterrupt:
        if (found := draft_of(out / TABLE)).exists():
            typer.echo(f"\nstopped before the last image; what was found by then: {found}", err=True)
        raise
    verdicts = Counter(line.verdict for line in lines if not line.error)
    typer.echo(f"{out}: " + (", ".join(f"{count} {name}" for name, count in sorted(verdicts.items())) or "no verdicts"))
    others = sum(is_named(Path(path), OTHER_PICTURES) for path in files_below(folder))
    if others:
        typer.echo(f"{counted(others, 'picture')} of other formats left out: cameras send PNG and JPEG", err=True)
    faults = [line.error for line in lines if line.error]
    if faults:
        typer.echo(f"skipped {len(faults)} of {counted(len(lines), 'file')}:", err=True)
        for fault in faults:
            typer.echo(f"  {fault}", err=True)
        raise typer.Exit(1)
