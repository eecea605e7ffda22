"""Fits RADAR's front in feature space: what is normal, which way damage goes, and what normals look like then."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.detectors.encoder import Encoder, encoder_from_tensors, encoder_tensors
from pipeline.detectors.radar.config import STRIDE_PX, RadarConfig
from pipeline.detectors.radar.front import FeatureFront, raw_features
from pipeline.detectors.radar.projection import Projection, beside_their_surroundings, whiten
from pipeline.training.drawn.damage import Damaged, damaged_copies
from pipeline.training.images.data import shapes_of
from pipeline.training.radar.directions import spread_of, standing_out
from pipeline.training.radar.whitening import fibres_of, fit_whitening, whitening_of
from pipeline.training.track import Track, untracked

_MARKED = 0.3
"""A cell counts as damaged where damage shows at more than this strength."""
_FEWEST_COPIES, _MOST_COPIES = 20, 200
_MOST_CELLS = 800_000
"""Of all damaged copies together: half a gigabyte, and from 1600 × 1600 px on more, for the sake of the fewest copies.
From 500 × 500 px on there are fewer than 200 copies."""
MOST_FIBRES = 3_000_000
"""Of all normals together: 2 GB in half precision. 2,000 images of 300 × 300 px have as many, or 48 of 2000 × 2000."""
_FEWEST_NORMALS = 20


@dataclass(frozen=True)
class Change:
    """What damage did to one normal. Kept near the damage alone: of 12 megapixels the whole would take 130 MB."""

    fibres: Tensor
    """(F, C): features of the damaged frame less those of the normal where `near`, in half precision."""
    near: Tensor
    """(h, w): cells that were damaged visibly, and those around them."""
    where: Tensor
    """(h, w): cells that were damaged visibly."""

    @classmethod
    def around(cls, moved: Tensor, where: Tensor, cells: int) -> Self:
        """Of features that moved so, (C, h, w), with squares of `cells` × `cells` around what was damaged."""
        near = functional.max_pool2d(where[None].float(), cells, stride=1, padding=cells // 2)[0] > 0
        return cls(moved[:, near].T.contiguous(), near, where)

    @property
    def features(self) -> Tensor:
        """(C, h, w): zero where it was not kept."""
        whole = self.fibres.new_zeros(*self.near.shape, self.fibres.shape[1])
        whole[self.near] = self.fibres
        return whole.permute(2, 0, 1)


def as_many_as_fit(frames: Sequence[NDArray[np.uint8]], side_px: int, most: int) -> Sequence[NDArray[np.uint8]]:
    """The frames, or evenly spread ones where all together have more than `most` positions of `side_px`: what is kept
    of each would not fit into memory."""
    count = how_many_fit(shapes_of(frames), side_px, most)
    if count == len(frames):
        return frames
    return [frames[place * len(frames) // count] for place in range(count)]


def how_many_fit(shapes: Sequence[tuple[int, ...]], side_px: int, most: int) -> int:
    positions = sum(-(-shape[0] // side_px) * -(-shape[1] // side_px) for shape in shapes)
    return min(len(shapes), max(_FEWEST_NORMALS, len(shapes) * most // max(1, positions)))


def fit_feature_front(
    encoder: Encoder,
    frames: Sequence[NDArray[np.uint8]],
    image_channels: int,
    config: RadarConfig,
    seed: int,
    device: torch.device,
    track: Track = untracked,
) -> tuple[FeatureFront, list[Tensor]]:
    """The front that gives these normals zero mean and about unit covariance, and each normal (K, h, w) as it sees it,
    in half precision. The seed draws the damage. Of more frames than fit into memory evenly spread ones are taken."""
    frames = as_many_as_fit(frames, STRIDE_PX, MOST_FIBRES)
    # Half precision, as the bundle will store it: the front must see in training what it will see in service.
    encoder = encoder_from_tensors(encoder.name, encoder_tensors(encoder), encoder.levels).to(device)
    folded = encoder.folded()

    def see(frame: NDArray[np.uint8]) -> Tensor:
        return raw_features(folded, frame[None], image_channels, config, device)[0].cpu().half()

    features = [see(frames[number]) for number in track(range(len(frames)), "encoding normals")]
    changes = changes_by_damage(frames, features, see, seed, config.around_cells, track) if config.standing_out else []
    projection = fit_projection(features, changes, config, track)
    front = FeatureFront(encoder, config, image_channels, projection)
    return front, [projection(one.float()[None], config)[0].half() for one in features]


def changes_by_damage(
    frames: Sequence[NDArray[np.uint8]],
    features: Sequence[Tensor],
    see: Callable[[NDArray[np.uint8]], Tensor],
    seed: int,
    around_cells: int,
    track: Track = untracked,
) -> list[Change]:
    """What drawn damage does to the features of these frames; `see` gives a frame's features. around_cells: of the
    config that they are for, or more."""

    def change(damaged: Damaged) -> Change:
        moved = see(damaged.frame) - features[damaged.normal]
        return Change.around(moved, cells_of(damaged.strength, *moved.shape[1:]), around_cells)

    cells = sum(one[0].numel() for one in features) // len(features)
    count = max(_FEWEST_COPIES, min(_MOST_COPIES, _MOST_CELLS // cells))
    copies = damaged_copies(frames, seed, count)
    return [
        change(damaged) for _, damaged in zip(track(range(count), "looking where damage shows"), copies, strict=True)
    ]


def cells_of(strength: NDArray[np.float32], height: int, width: int) -> Tensor:
    """(H, W) → (height, width): the cells in which damage shows somewhere."""
    highest = functional.adaptive_max_pool2d(torch.from_numpy(strength)[None], (height, width))
    return highest[0] > _MARKED


def fit_projection(
    features: Sequence[Tensor], changes: Sequence[Change], config: RadarConfig, track: Track = untracked
) -> Projection:
    """(C, h, w) maps of normals, and what damage changes in such maps → the projection, rounded as a bundle keeps it.
    Without changes every direction is kept."""
    mean, whitening = fit_whitening(features, config, track)
    nothing = torch.zeros_like(mean)

    def moved(matrix: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for change in changes:
            yield whiten(change.features.float()[None], nothing, matrix, config), change.where.flatten()

    spread = spread_of((fibres_of(one[0])[where] for one, where in moved(whitening)), len(mean[0]))
    whitening = (standing_out(spread, config.standing_out).T.float() @ whitening).half().float()
    if config.around_cells == 1:
        return Projection(mean, whitening, None)

    def beside(white: Tensor) -> Tensor:
        return fibres_of(beside_their_surroundings(white, config)[0])

    channels = 2 * whitening.shape[1]
    products, count = torch.zeros(channels, channels, dtype=torch.float64), 0
    for number in track(range(len(features)), "whitening surroundings"):
        fibres = beside(whiten(features[number].float()[None], mean, whitening, config)).double()
        products += fibres.T @ fibres
        count += len(fibres)
    again = whitening_of(products / count)
    changed = (beside(one)[where].double() @ again.T.double() for one, where in moved(whitening))
    around = standing_out(spread_of(changed, channels), config.standing_out).T.float() @ again
    return Projection(mean, whitening, around).rounded()
