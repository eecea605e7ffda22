"""`andon calibrate`: a threshold that keeps false stops rare, from more images of good parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers.commands.options import Device, Runtime, SamePart
from workers.commands.places import ready_folder
from workers.commands.progress import bars_on

if TYPE_CHECKING:
    from pipeline.detectors.bundle import BundleInfo
    from pipeline.training.threshold.recalibrate import Normals, Recalibrated

_UNLIKE, _UNLIKE_TIMES = 0.1, 5
"""More of the good parts than this share, and so many times the rate that was asked for, are no chance."""


def calibrate(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    data: Annotated[
        Path,
        typer.Option(
            help="Images of good parts that the model was not trained on, one a part or see --same-part: a folder, "
            "or a data set whose train/good is taken. Images that the bundle was fitted on are left out."
        ),
    ],
    false_stops_per_shift: Annotated[float, typer.Option(min=0, help="So many at most, in the long run.")] = 1,
    fps: Annotated[float, typer.Option(min=0, help="Parts a second that a camera inspects.")] = 10,
    shift_hours: Annotated[float, typer.Option(min=0, help="Length of a shift.")] = 8,
    k: Annotated[int, typer.Option(min=1, max=100, help="The line stops at k …")] = 1,
    n: Annotated[int, typer.Option(min=1, max=100, help="… of the last n parts NOT_OK, as in the line's policy.")] = 1,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.9999, help="How sure the promise is.")] = 0.95,
    same_part: SamePart = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the bundle to write.", file_okay=False)] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Change the bundle itself, in place of --out.")] = False,
    name: Annotated[str, typer.Option(help="Of the new bundle. Left out: the name of --out.")] = "",
    device: Device = "auto",
    runtime: Runtime = "torch",
) -> None:
    """Set a bundle's threshold so that good parts stop the line at most so often.

    The rate at which a good part may be called NOT_OK follows from the stops, the parts in a shift, and k of n. The
    threshold is the lowest that keeps this rate with the given confidence, whatever the scores look like; with too
    few images for that the command refuses, and says how many it takes. Quality limits (too dark, too bright, blurred)
    are set anew from the same images.

    With --same-part the highest score of a part counts for it, since its pictures pass or fail together.

    The promise holds for parts like these, one after the other independent. A mark that ten parts in a row carry,
    a new lamp, or a second camera on the line are not in it. With k of n the single part may be called NOT_OK far more
    often than the line may stop, which takes far fewer images: 1 stop in 8 hours at 10 parts a second takes 862,770
    for 1 of 1, and 357 for 3 of 5.

    Example: andon calibrate mono-radar --data more-good --false-stops-per-shift 1 --fps 10 --k 3 --n 5 --out mono-tuned
    """
    import shlex
    import sys

    from rich.console import Console

    from pipeline.counting import counted, figure
    from pipeline.detectors.registry import load_detector
    from pipeline.errors import AndonError
    from pipeline.training.threshold.false_stops import Target, stops_per_frame
    from pipeline.training.threshold.recalibrate import held_out_normals, recalibrate, write_recalibrated

    if (out is None) is not in_place:
        raise AndonError("say where the new bundle goes: either --out FOLDER or --in-place")
    folder = bundle if out is None else out
    if out is not None and out.resolve() == bundle.resolve():
        raise AndonError(f"--out is the bundle itself, {bundle}: give another folder, or --in-place")
    ready_folder(folder)
    target = Target(false_stops_per_shift, fps, shift_hours, k, n, confidence)
    console = Console()

    detector = load_detector(bundle, device, runtime)
    info = detector.info
    normals = held_out_normals(data, info)
    if normals.fitted:
        known = counted(normals.fitted, "image")
        console.print(f"left out {known} that the model was fitted on, of {normals.fitted + len(normals.paths)}")
    for note in _of_images(normals, info):
        console.print(f"note: {note}", markup=False)
    found = recalibrate(detector, normals.paths, target, bars_on(console), same_part)
    for note in _of_scores(found, info):
        console.print(f"note: {note}", markup=False)
    command = shlex.join(["andon", *sys.argv[1:]])
    written = write_recalibrated(
        bundle,
        folder,
        name or (info.name if in_place else folder.name),
        info,
        found.calibration,
        normals.paths,
        data,
        command,
    )
    chosen, parts = found.chosen, found.calibration.normals
    images = len(normals.paths) - len(found.repeats)
    shown = f"{images} good images" + (f" of {parts} parts" if parts < images else "")
    low, high = (figure(stops_per_frame(rate, k, n) * target.frames_per_shift) for rate in chosen.interval)
    typer.echo(
        f"threshold {info.calibration.threshold:.6g} → {chosen.threshold:.6g}, from {shown} "
        f"(the old one calls {found.called_before:.2%} of them NOT_OK)\n"
        f"good parts called NOT_OK: {chosen.expected_rate:.3%} expected, 95 % interval {chosen.interval[0]:.3%} to "
        f"{chosen.interval[1]:.3%}; at most {chosen.rate:.3%} with {100 * confidence:g} % confidence\n"
        f"false stops a shift at {k} of {n}: 95 % interval {low} to {high}, if parts are independent\n"
        f"wrote {folder}: model {written.model_hash}"
    )
    if (folder / "README.md").exists():
        typer.echo(f"its model card is now out of date: andon evaluate {folder} --data … --card writes it anew")


def _of_images(normals: Normals, info: BundleInfo) -> Iterator[str]:
    from pipeline.training.images.copies import said
    from pipeline.training.images.data import how_stored

    if normals.copies:
        yield said(normals.copies)
    yield from how_stored(normals.paths).on_a_model(info.input.mode)
    if not normals.known:
        yield "this bundle does not say what it was fitted on; make sure that it was not on these images"


def _of_scores(found: Recalibrated, info: BundleInfo) -> Iterator[str]:
    from pipeline.training.images.copies import said_of_repeats

    if found.repeats:
        yield said_of_repeats(found.repeats)
    if found.likeness is not None:
        yield (
            f"these parts score like the one before (rank correlation {found.likeness:.2f}), but the promise "
            "takes them to be independent: it will fail more often than it says. Where several pictures show one part, "
            "give --same-part; where light or product drift, give images of more days"
        )
    if found.called_before > max(_UNLIKE, _UNLIKE_TIMES * info.calibration.false_alarm_rate):
        yield (
            f"the old threshold calls {found.called_before:.0%} of these good parts NOT_OK, where "
            f"{info.calibration.false_alarm_rate:.1%} were to be: they are unlike those that the model learnt, "
            "and a threshold above all of them may let defects through. Better train on parts like these, or look at "
            "the new bundle with andon evaluate"
        )
