"""Options that several commands share."""

from enum import StrEnum
from typing import Annotated

import typer


class Runtime(StrEnum):
    """What runs a detector's networks."""

    TORCH = "torch"
    ONNX = "onnx"
    OPENVINO = "openvino"


Device = Annotated[str, typer.Option(help="auto (a GPU when there is one), cpu or cuda.")]

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
