"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Device = Annotated[str, typer.Option(help="auto (a GPU when there is one), cpu or cuda.")]

Runtime = Annotated[
    Literal["torch", "onnx", "openvino"], typer.Option(help="torch, or one that `andon export` wrote graphs for.")
]

Home = Annotated[
    Path | None,
    typer.Option(
        "--home", envvar="ANDON_HOME", help="Folder of all local data.", show_default=".andon", file_okay=False
    ),
]

MetricsPort = Annotated[
    int | None,
    typer.Option(min=1, max=65535, help="Serve /metrics and /healthz on this port of 127.0.0.1 (ANDON_METRICS_HOST)."),
]

SamePart = Annotated[
    int | None,
    typer.Option(
        "--same-part",
        min=0,
        metavar="N",
        help="Pictures of one folder show one part (exposures, sides) where the last number in their names (the "
        "seconds of a date and time) is at most N above that of the picture before; 0: where it is equal. Left out: "
        "each shows a part of its own.",
    ),
]
