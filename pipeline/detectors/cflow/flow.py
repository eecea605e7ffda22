"""The conditional normalizing flow of one level: fibre and position in, log-likelihood out.

Affine coupling as in RealNVP (arXiv 1605.08803, eq. 7), in the form of FrEIA's AllInOneBlock that the official code
uses: conditioned subnet, soft clamp, learned scale and shift per channel, fixed permutation of channels. Our own
instead of FrEIA's, for two reasons. The first layer of a subnet is linear in the position's encoding, and the encoding
is a column's part beside a row's part. So on a whole grid the position costs one row and one column of products in
place of one for each fibre. And a version of FrEIA decides what a trained flow says (it changed clamp and permutation);
here the bundle does.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

Context = Tensor | tuple[Tensor, Tensor]
"""What positions add to a block's first layer: (F, width), or the parts of a map's rows (h, 1, width) and of its
columns (w, width)."""


class CouplingBlock(nn.Module):
    """Half of the channels stay and, with the position, decide scale and shift of the other half."""

    permutation: Tensor

    def __init__(self, channels: int, condition: int, clamp: float, permutation: Tensor) -> None:
        super().__init__()
        self.kept = channels - channels // 2
        self.changed = channels // 2
        width = 2 * (self.kept + condition)
        self.clamp = clamp
        self.fibre_in = nn.Linear(self.kept, width)
        self.position_in = nn.Linear(condition, width, bias=False)
        self.out = nn.Linear(width, 2 * self.changed)
        # The flow starts as the identity, a Gaussian over whitened features. So it need not be damped: FrEIA multiplies
        # by 0.1, and learns much slower.
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.register_buffer("permutation", permutation)

    def forward(self, fibres: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """(F, C), or maps (N, h, w, C) with the context in parts → their like, and log|det J| without the last axis.

        context: of the fibres' encodings, see `context`. It is written over when no gradient is asked for.
        """
        kept, changed = fibres[..., : self.kept], fibres[..., self.kept :]
        log_scale, shift = self._affine(kept, context)
        moved = torch.cat([kept, changed * log_scale.exp() + shift], dim=-1) * self.log_scale.exp() + self.shift
        return moved[..., self.permutation], log_scale.sum(dim=-1) + self.log_scale.sum()

    def inverse(self, moved: Tensor, context: Tensor) -> Tensor:
        """Undoes `forward`: (F, C) → (F, C)."""
        ordered = torch.empty_like(moved)
        ordered[:, self.permutation] = moved
        ordered = (ordered - self.shift) / self.log_scale.exp()
        kept, changed = ordered[:, : self.kept], ordered[:, self.kept :]
        log_scale, shift = self._affine(kept, context)
        return torch.cat([kept, (changed - shift) / log_scale.exp()], dim=1)

    def context(self, encodings: Tensor) -> Tensor:
        """(F, condition) → (F, width): what the position adds to the first layer, and its bias."""
        context: Tensor = self.position_in(encodings) + self.fibre_in.bias
        return context

    def context_of_sides(self, columns: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The same for a grid whose axes have these encodings, in parts: (w, condition / 2), (h, condition / 2) →
        (h, 1, width), (w, width).
        The bias comes in with the rows: added to every fibre it would be one more pass over the largest tensor."""
        weight, half = self.position_in.weight, columns.shape[1]
        across, down = columns @ weight[:, :half].T, rows @ weight[:, half:].T + self.fibre_in.bias
        return down[:, None, :], across

    def _affine(self, kept: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        weight = self.fibre_in.weight
        if isinstance(context, tuple):
            down, across = context
            hidden = (kept @ weight.T + down + across).relu()
        elif torch.is_grad_enabled():
            hidden = torch.addmm(context, kept, weight.T).relu()
        else:
            hidden = context.addmm_(kept, weight.T).relu_()
        affine = self.out(hidden)
        return self.clamp * torch.tanh(affine[..., : self.changed] / self.clamp), affine[..., self.changed :]


class ConditionalFlow(nn.Module):
    """A chain of coupling blocks and a standard normal at its end."""

    def __init__(self, channels: int, condition: int, blocks: int, clamp: float, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.channels = channels
        self.blocks = nn.ModuleList(
            CouplingBlock(channels, condition, clamp, torch.randperm(channels, generator=generator))
            for _ in range(blocks)
        )

    def forward(self, maps: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
        """Whole maps (N, h, w, C), where columns (w, condition / 2) and rows (h, condition / 2) are the encodings of
        the two axes → (N, h, w) log-likelihoods per channel, in nats."""
        n, height, width, channels = maps.shape
        sides = (block.context_of_sides(columns, rows) for block in self.blocks)  # type: ignore[operator]
        if torch.compiler.is_exporting():
            # Engines add both parts and take the maximum in one pass over the largest tensor: OpenVINO needs 5.5 ms in
            # place of 7.2 at stride 8. torch does best with one sum that the product is added to.
            return self._log_likelihood(*self._run(maps, sides))
        grids = (_repeated((down + across).flatten(0, 1), n) for down, across in sides)
        return self._log_likelihood(*self._run(maps.reshape(-1, channels), grids)).view(n, height, width)

    def of_fibres(self, fibres: Tensor, encodings: Tensor) -> Tensor:
        """The same for fibres (F, C) at positions (F, condition) of no grid → (F,)."""
        return self._log_likelihood(*self.transform(fibres, encodings))

    def transform(self, fibres: Tensor, encodings: Tensor) -> tuple[Tensor, Tensor]:
        """(F, C) → latent (F, C), and log|det J| (F,)."""
        return self._run(fibres, (block.context(encodings) for block in self.blocks))  # type: ignore[operator]

    def inverse(self, latent: Tensor, encodings: Tensor) -> Tensor:
        """Undoes `transform`."""
        for block in reversed(self.blocks):
            latent = block.inverse(latent, block.context(encodings))  # type: ignore[operator]
        return latent

    def _log_likelihood(self, latent: Tensor, log_det: Tensor) -> Tensor:
        """log p = −C/2·ln 2π − ½‖z‖² + log|det J|, over C: the number of channels does not weigh."""
        normal = 0.5 * latent.square().sum(dim=-1) + 0.5 * self.channels * math.log(2 * math.pi)
        return (log_det - normal) / self.channels

    def _run(self, fibres: Tensor, contexts: Iterable[Context]) -> tuple[Tensor, Tensor]:
        log_det = fibres.new_zeros(fibres.shape[:-1])  # len() would be fixed in an exported graph
        for block, context in zip(self.blocks, contexts, strict=True):
            fibres, gained = block(fibres, context)
            log_det = log_det + gained
        return fibres, log_det


def _repeated(grid: Tensor, frames: int) -> Tensor:
    return grid.repeat(frames, 1) if frames > 1 else grid
