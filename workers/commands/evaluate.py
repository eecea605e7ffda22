"""`andon evaluate`: how well a bundle tells defects from normals, on images that it never saw."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers.commands.options import Device, Runtime, SamePart
from workers.commands.places import ready_file, ready_folder, write_json
from workers.commands.progress import bars_on

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.training.figures.measure import Evaluation


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    data: Annotated[
        Path,
        typer.Option(
            help="Data set: MVTec's layout (test/good, test/<class>, ground_truth/<class>), the folder of one VisA "
            "object, or a folder with good/ and other folders of bad parts."
        ),
    ],
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.", dir_okay=False)] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write index.html, with the worst mistakes as pictures, into this folder.")
    ] = None,
    card: Annotated[bool, typer.Option("--card", help="Write the model card, README.md, into the bundle.")] = False,
    masks: Annotated[bool, typer.Option(help="Evaluate pixels, too, where defects are marked.")] = True,
    same_part: SamePart = None,
    device: Device = "auto",
    runtime: Runtime = "torch",
) -> None:
    """Measure a bundle on test images, beside baselines that use the raw image alone.

    All figures are of raw scores and maps. AUROC, AUPR and the best F1 need no threshold; F1, accuracy, precision and
    recall are those at the bundle's threshold. Pixels: AUROC, and AUPRO up to a false positive rate of 0.3.

    Intervals say how far a figure would move with other test images. Six pictures of one part are no six parts: with
    --same-part they are drawn together, and intervals are as wide as they should be.

    Damaged images and masks that do not fit are named, file by file, before anything is scored.

    Example: andon evaluate mono-radar --data cells/mono --json figures.json --report report
    """
    from rich.console import Console

    from pipeline.detectors.bundle import CARD
    from pipeline.detectors.registry import load_detector
    from pipeline.files.durable import write_whole
    from pipeline.training.figures.card import model_card
    from pipeline.training.figures.measure import machine_facts, measure
    from pipeline.training.figures.report import write_report
    from pipeline.training.figures.shelf import MapShelf

    console = Console()
    if json:
        ready_file(json)
    if report:
        ready_folder(report)
    if card:
        ready_folder(bundle)
    detector = load_detector(bundle, device, runtime)
    with MapShelf() as shelf:
        found = measure(detector, data, machine_facts(device), shelf, bars_on(console), masks, same_part)
        _print(console, detector.info.name, found)  # first: what is written may not find room
        if json:
            write_json(json, {"model": detector.info.model_hash, **found.as_dict()})
        if card:
            write_whole(bundle / CARD, model_card(detector.info, found))
        if report:
            console.print(f"report: {write_report(detector.info, found, shelf, report)}", markup=False)


def _print(console: "Console", name: str, found: "Evaluation") -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("score", "AUROC", "95 % interval", "AUPR", "best F1")
    for row, metrics in {name: found.detector, **found.features, **found.baselines}.items():
        low, high = metrics.intervals["auroc"]
        table.add_row(
            escape(row), f"{metrics.auroc:.4f}", f"{low:.3f}–{high:.3f}", f"{metrics.aupr:.4f}", f"{metrics.f1_max:.4f}"
        )
    console.print(table)
    classes = Table("class", "images", "AUROC", "found", "pixel AUROC", "AUPRO")
    rows = [(kind, one.image, one.pixel) for kind, one in found.per_class.items()]
    for kind, image, pixel in [*rows, ("all", found.detector, found.pixel)]:  # a class may have that name, too
        pixels = (f"{pixel.auroc:.4f}", f"{pixel.aupro:.4f}") if pixel else ("—", "—")
        classes.add_row(escape(kind), str(image.defects), f"{image.auroc:.4f}", f"{image.recall:.1%}", *pixels)
    console.print(classes)
    for note in found.notes:
        console.print(f"note: {note}", style="yellow", markup=False)
    console.print(
        f"at the threshold: {found.detector.recall:.1%} of {found.detector.defects} defective and "
        f"{found.detector.false_alarm_rate:.1%} of {found.detector.normals} good images are NOT_OK; "
        f"{found.ms_per_image:.1f} ms per image"
    )
