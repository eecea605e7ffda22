"""Options that several commands share."""

from enum import StrEnum


class Runtime(StrEnum):
    """What runs a detector's networks."""

    TORCH = "torch"
    ONNX = "onnx"
    OPENVINO = "openvino"
