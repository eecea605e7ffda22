"""The trained networks put together: frames in, log-likelihoods of every level out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.detectors.bundle import below
from pipeline.detectors.cflow.config import CflowConfig
from pipeline.detectors.cflow.features import (
    Whitening,
    fibres_of,
    whitening_from_tensors,
    whitening_tensors,
)
from pipeline.detectors.cflow.flow import ConditionalFlow
from pipeline.detectors.cflow.likelihood import Reference, shortfall_by_place, shortfall_of_likelihood
from pipeline.detectors.cflow.position import encode, places
from pipeline.detectors.encoder import Encoder, encoder_from_tensors, encoder_tensors

_ENCODER = "encoder."
_REFERENCE = fields(Reference)
_GRIDS_KEPT = 64
"""Encodings of so many grid sides are kept; a stream has few frame sizes."""


@dataclass(frozen=True)
class CflowModel:
    """Everything that is learnt. Frozen: who takes references of other normals makes a new one."""

    config: CflowConfig
    mode: str
    """'gray' or 'rgb': what frames are brought to first."""
    encoder: Encoder
    whitenings: Sequence[Whitening]
    flows: nn.ModuleList
    """One `ConditionalFlow` a level."""
    references: Sequence[Reference]

    @property
    def device(self) -> torch.device:
        return self.references[0].highest.device

    def to(self, device: torch.device) -> "CflowModel":
        return CflowModel(
            self.config,
            self.mode,
            self.encoder.to(device),
            [whitening.to(device) for whitening in self.whitenings],
            self.flows.to(device).eval(),
            [reference.to(device) for reference in self.references],
        )

    @torch.inference_mode()
    def anomaly_maps(self, frames: NDArray[np.uint8]) -> Tensor:
        """(N, H, W[, 3]) → (N, h, w) on the grid of the finest level; higher is more anomalous."""
        levels = self.log_likelihoods(frames)
        if self.config.merge == "place":
            return shortfall_by_place(levels, self.references, self.config.place_bins)
        return shortfall_of_likelihood(levels, self.references)

    @torch.inference_mode()
    def log_likelihoods(self, frames: NDArray[np.uint8]) -> list[Tensor]:
        """(N, H, W[, 3]) → per level (N, h, w), in nats per channel of whitened features."""
        found = []
        maps = fibres_of(self.encoder, frames, self.mode, self.config)
        for level, stride_px, whitening, flow in zip(
            maps, self.encoder.strides, self.whitenings, self.flows, strict=True
        ):
            rows, columns = (
                _axis(cells, stride_px, self.config.position, self.config.condition // 2, level.device)
                for cells in level.shape[1:3]
            )
            found.append(flow(whitening(level), columns, rows))
        return found

    def tensors(self) -> dict[str, NDArray[Any]]:
        """For the bundle. Flows and encoder in half precision: training rounds them before it calibrates."""
        own = {_ENCODER + name: value for name, value in encoder_tensors(self.encoder).items()}
        for level, whitening, flow, reference in zip(
            self.config.levels, self.whitenings, self.flows, self.references, strict=True
        ):
            own |= {f"reference.{level}.{one.name}": getattr(reference, one.name).cpu().numpy() for one in _REFERENCE}
            own |= whitening_tensors(level, whitening)
            own |= {
                f"flow.{level}.{name}": (value.half() if value.is_floating_point() else value.short()).cpu().numpy()
                for name, value in flow.state_dict().items()
            }
        return own

    @classmethod
    def from_tensors(cls, config: CflowConfig, mode: str, tensors: Mapping[str, NDArray[Any]]) -> "CflowModel":
        """Undoes `tensors`. Raises KeyError or RuntimeError when one is missing or of another shape."""
        encoder = encoder_from_tensors(config.encoder, below(_ENCODER, tensors), config.levels)
        whitenings = [whitening_from_tensors(level, tensors) for level in config.levels]
        flows = []
        for level, whitening in zip(config.levels, whitenings, strict=True):
            flow = ConditionalFlow(whitening.matrix.shape[1], config.condition, config.blocks, config.clamp)
            flow.load_state_dict(
                {name: torch.from_numpy(value) for name, value in below(f"flow.{level}.", tensors).items()}
            )
            flows.append(flow.requires_grad_(False).eval())
        references = [
            Reference(*(torch.from_numpy(tensors[f"reference.{level}.{one.name}"]) for one in _REFERENCE))
            for level in config.levels
        ]
        return cls(config, mode, encoder, whitenings, nn.ModuleList(flows), references)


@lru_cache(maxsize=_GRIDS_KEPT)
def _axis(cells: int, stride_px: int, position: Any, length: int, device: torch.device) -> Tensor:
    return encode(places(cells, stride_px, position), length).to(device)
