"""`andon export`: a bundle's networks for ONNX Runtime or OpenVINO."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from workers.commands.places import ready_folder
from workers.commands.progress import bars_on


def export(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    to: Annotated[Literal["onnx", "openvino"], typer.Option(help="What shall run the networks.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the bundle to write. Left out: the bundle itself.", file_okay=False)
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Images to compare on, up to 64. Left out: synthetic ones.", file_okay=False)
    ] = None,
) -> None:
    """Write a bundle with its networks as graphs, and compare what they say with what torch says.

    The graphs go into onnx/ or openvino/ below the bundle; threshold, forest and everything else around the networks
    stay as they are. Refuses when scores or maps differ by more than rounding, or when frames change their rank. A
    recipe with `runtime: onnx` or `runtime: openvino` then runs them, on the CPU.

    Needs more packages: pip install '.\\[runtimes]' in Andon's checkout.

    Example: andon export mono-radar --to openvino --data cells/mono/test/good
    """
    from rich.console import Console

    from pipeline.detectors.bundle import read_info
    from pipeline.errors import AndonError
    from pipeline.files.alone import alone_in
    from pipeline.training.export import export_bundle
    from pipeline.training.images.data import read_frame
    from pipeline.training.predict_folder import images_below

    info = read_info(bundle)
    ready_folder(out or bundle)
    paths = images_below(data)[:64] if data else []
    frames = [read_frame(path, info.input.mode) for path in paths]
    given = len(frames)
    frames = [frame for frame in frames if info.input.accepts(*frame.shape[:2])]
    if given and not frames:
        raise AndonError(f"none of the images in {data} is of a size that this model judges: {info.input.describe()}")
    with alone_in(out or bundle, "another `andon export` writes its graphs"):
        found = export_bundle(bundle, out or bundle, to, frames, bars_on(Console()))
    parity = found.parity
    typer.echo(
        f"wrote {(out or bundle) / to}: {', '.join(sorted(found.graphs))}\n"
        f"beside torch, on {len(frames)} images and {parity['frames'] - len(frames):.0f} made-up frames: scores "
        f"differ by at most {parity['score']:.3g} "
        f"({parity['score_share']:.3%} of the normals' spread), maps by {parity['map_share']:.3%} of their range; "
        "ranks are the same"
    )
