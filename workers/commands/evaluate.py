"""`andon evaluate`: how well a bundle tells defects from normals, on images that it never saw."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    data: Annotated[Path, typer.Option(help="Data set with test/good and test/<defect>.")],
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
    card: Annotated[bool, typer.Option(help="Write the model card, README.md, into the bundle.")] = False,
    device: Annotated[str, typer.Option(help="auto (a GPU when there is one), cpu or cuda.")] = "auto",
) -> None:
    """Measure a bundle on test images, beside baselines that use the raw image alone.

    Example: andon evaluate mono-radar --data cells/mono --json figures.json
    """
    import json as json_format

    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    from pipeline.detectors.registry import load_detector
    from pipeline.training.card import model_card
    from pipeline.training.measure import machine_facts, measure

    console = Console()
    detector = load_detector(bundle, device)
    found = measure(detector, data, machine_facts(device), lambda frames: track(frames, "scoring", console=console))
    table = Table("score", "AUROC", "95 % interval", "average precision", "best F1")
    rows = {detector.info.name: found.detector, **found.features, **found.baselines}
    for name, metrics in rows.items():
        interval = f"{metrics.auroc_low:.3f}–{metrics.auroc_high:.3f}"
        table.add_row(
            name, f"{metrics.auroc:.4f}", interval, f"{metrics.average_precision:.4f}", f"{metrics.f1_max:.4f}"
        )
    console.print(table)
    console.print(
        f"at the threshold: {found.detector.recall:.1%} of {found.detector.defects} defective and "
        f"{found.detector.false_alarm_rate:.1%} of {found.detector.normals} good images are NOT_OK; "
        f"{found.ms_per_frame:.1f} ms per frame"
    )
    if json:
        json.write_text(json_format.dumps({"model": detector.info.model_hash, **found.as_dict()}, indent=2) + "\n")
    if card:
        (bundle / "README.md").write_text(model_card(detector.info, found))
