"""RADAR's hyper-parameters: everything besides the weights that decides a score."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.detectors import wavelets

STRIDE_PX = 8
"""Frame pixels per cell of the encoder's grid."""

METHOD = "radar"
METHOD_VERSION = 4

SCORING_ONLY = (
    "timestep",
    "blur_px",
    "pooled_px",
    "norm_fraction",
    "top_fraction",
    "over_median",
    "map",
    "place_quantile",
    "significant_digits",
)
"""Settings that a trained network does not depend on."""


class RadarConfig(BaseModel):
    """Validated on training and again on loading. docs/decisions/ has the reasons for the defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: Literal["pixels", "features"] = "pixels"
    """What is diffused: the frame itself, as in the paper, or the feature maps of a frozen encoder."""
    encoder: str = "tf_efficientnet_lite0"
    """timm's name of it, or `wavelets`, which needs no weights; in the feature space only."""
    shrinks: tuple[int, ...] = Field(default=(1,), min_length=1, max_length=8)
    """The encoder sees the frame shrunk by each of these (powers of two), and all it says is diffused together: at
    native size thin cracks show, at half size wide unevenness; in the feature space only."""
    even_exposure: bool = False
    """Whether frames are divided by their mean gray level before the encoder; in the feature space only."""
    scale: int = Field(default=1, ge=1)
    """Frame pixels per position, along each side: in pixels the frame is averaged down by this first."""
    fold: int = Field(default=4, ge=1, le=32)
    """Positions per network position, along each side. They become channels (space to depth), which keeps every pixel
    and divides the network's time by fold²."""
    patch_px: int = Field(default=96, gt=0)
    """Side of a training patch in frame pixels; also the smallest frame that can be scored."""
    contrast_px: int = Field(default=63, ge=0)
    """Window of the local mean that the frame is divided by; 0 leaves the gray levels alone. In positions, or, in the
    feature space, in pixels of each view."""
    gain: float = Field(default=1.0, gt=0)
    """Normalised frames are multiplied by this. Training sets it so that normals have unit variance."""
    rings: int = Field(default=5, ge=1, le=32)
    """How many distances from the border are told apart, 8 frame pixels each; 1 treats all positions alike."""

    loud_share: float = Field(default=0.05, ge=0, lt=1)
    """Features are whitened by this share of normals' fibres, the loudest, so that marks of good parts stay below
    defects; 0: by all of them alike; in the feature space only."""

    standing_out: float = Field(default=1.0, ge=0)
    """Directions of whitened features are kept in which drawn damage goes at least so many times as far as on average,
    so that the grain in the others does not count; 0 keeps them all; in the feature space only."""
    around_cells: int = Field(default=5, ge=1)
    """Side of the square, in positions, whose mean stands beside each fibre; 1: fibres are taken one by one; in the
    feature space only."""

    channels: tuple[Annotated[int, Field(le=1024)], ...] = Field(default=(64, 96), min_length=1, max_length=8)
    """U-Net channels per level; self-attention sits at the bottom alone. Bounded, as what else decides the network's
    size: it is built before it is compared with the weights, and would take a replica's memory before it is refused."""
    train_timesteps: int = Field(default=1000, gt=0, le=100_000)
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "squaredcos_cap_v2"
    timestep: int = Field(default=500, ge=0)
    """The one timestep at which frames are scored: where noise and image weigh alike."""

    blur_px: int = Field(default=3, ge=1)
    """Side of the box blur over the predicted noise, in positions; 1 is none."""
    pooled_px: int = Field(default=0, ge=0)
    """Norm and Sobel map are brought to the grid of 8 frame pixels, where each cell has their root mean square over a
    square of this side, in frame pixels: 8, 24, 40 …; 0 leaves both at every position."""
    place_quantile: float = Field(default=0.95, gt=0, lt=1)
    """The noise map is divided by this quantile of its norm among normals at the same place of the frame."""
    norm_fraction: float = Field(default=0.03, gt=0, le=1)
    """The global feature is the L2 norm of the noise over this share of positions, the loudest. 1 is the paper's."""
    top_fraction: float = Field(default=0.01, gt=0, le=1)
    """The local feature is the mean of this share of the highest values of the Sobel map."""
    over_median: bool = False
    """Whether the local feature is taken relative to the map's median."""
    map: Literal["sobel", "norm"] = "norm"
    """What is shown per position: Sobel of the predicted noise, as in the paper, or its norm, which locates better."""
    significant_digits: int = Field(default=5, ge=3, le=12)
    """Features are rounded to so many digits: float noise between machines and batch sizes stays out of the forest."""

    @classmethod
    def in_features(cls, **settings: Any) -> Self:
        """Defaults for the feature space: the encoder has done the folding and averaging already."""
        own: dict[str, Any] = {
            "scale": STRIDE_PX,
            "fold": 1,
            "shrinks": (1, 2),
            "contrast_px": 0,
            "blur_px": 1,
            "top_fraction": 0.003,
        }
        return cls.model_validate({"space": "features", **own, **settings})

    @classmethod
    def in_wavelets(cls, **settings: Any) -> Self:
        """In the feature space with an encoder that nobody taught. What it sees is small, so it looks further away."""
        own: dict[str, Any] = {"encoder": wavelets.NAME, "shrinks": (1, 2, 4, 8), "contrast_px": 63}
        return cls.in_features(**{**own, **settings})

    @classmethod
    def in_pixels(cls, **settings: Any) -> Self:
        """One pixel says little; a square of them does."""
        own: dict[str, Any] = {"blur_px": 5, "pooled_px": 24}
        return cls.model_validate({"space": "pixels", **own, **settings})

    @property
    def stride_px(self) -> int:
        """Frames are padded to a multiple of this, in positions: every level of the U-Net then halves evenly."""
        return self.fold << (len(self.channels) - 1)

    @property
    def map_px(self) -> int:
        """Frame pixels per position of the map, along each side."""
        return STRIDE_PX if self.pooled_px else self.scale

    @property
    def ring_cells(self) -> int:
        """Width of a ring in positions."""
        return max(1, STRIDE_PX // self.scale)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.timestep >= self.train_timesteps:
            raise ValueError(f"timestep {self.timestep} must be below train_timesteps {self.train_timesteps}")
        if self.patch_px % (self.scale * self.stride_px):
            raise ValueError(
                f"patch_px {self.patch_px} must be a multiple of scale × stride = {self.scale * self.stride_px}"
            )
        if self.pooled_px and (STRIDE_PX % self.scale or self.pooled_px % (2 * STRIDE_PX) != STRIDE_PX):
            raise ValueError(
                f"pooled_px {self.pooled_px} must be an odd multiple of {STRIDE_PX}, and scale {self.scale} divide it"
            )
        if self.blur_px % 2 == 0 or self.around_cells % 2 == 0 or (self.contrast_px and self.contrast_px % 2 == 0):
            raise ValueError("blur_px, around_cells and contrast_px must be odd, so that the window has a centre")
        if any(shrink < 1 or shrink & (shrink - 1) for shrink in self.shrinks):
            raise ValueError("shrinks must be powers of two, so that every view lies on the same grid")
        if any(channel % 8 for channel in self.channels):
            raise ValueError("channels must be multiples of 8, so that attention splits into heads")
        return self
