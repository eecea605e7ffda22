"""CFLOW's hyper-parameters: everything besides the weights that decides a score."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

METHOD = "cflow"
METHOD_VERSION = 1


class CflowConfig(BaseModel):
    """Validated on training and again on loading. docs/decisions/ has a page with the reasons for the defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str = "tf_efficientnet_lite0"
    """timm's name of it."""
    levels: tuple[int, ...] = (2, 3, 4)
    """timm's feature levels; level i has stride 2^(i + 1) in most encoders."""
    patch_px: int = Field(default=32, ge=8)
    """The shortest side of a frame that can be scored. Frames are never cut up: the flow takes any number of fibres."""
    contrast_px: int = Field(default=64, ge=0)
    """Window, roughly, of the local mean that gray levels are divided by, so that exposure cancels out; 0: they are
    taken as they are."""
    neighbourhood: int = Field(default=3, ge=1)
    """Each level is averaged over so many of its own cells along each side before it meets the flow."""
    channels: int = Field(default=128, ge=2)
    """A flow is given at most so many channels of a level: the leading directions of its whitened fibres."""

    blocks: int = Field(default=8, ge=1, le=64)
    """Coupling blocks per level. Bounded, as `condition`: a flow is built before it is compared with the weights."""
    clamp: float = Field(default=1.9, gt=0)
    """A coupling block scales by at most e^±clamp."""
    condition: int = Field(default=128, ge=4, le=4096)
    """Length of the position's encoding: the first half tells the column, the second the row."""
    position: Literal["relative", "absolute"] = "relative"
    """Where a fibre is: as a share of the frame's width and height, or in cells from the upper left corner."""

    merge: Literal["place", "likelihood"] = "place"
    """How the levels become one map. 'likelihood': the sum of their likelihoods, as in the paper, in log space.
    'place': the mean over levels of how many deviations a log-likelihood lies below that of normals at this place."""
    place_bins: int = Field(default=12, ge=1)
    """The frame's width and height are cut into so many parts each to tell places apart."""
    top_fraction: float = Field(default=0.01, ge=0, le=1)
    """The score is the mean of this share of the highest values of the map; 0 is the highest pixel, as in the paper."""
    significant_digits: int = Field(default=5, ge=3, le=12)
    """Scores and features are rounded to so many digits, so that float noise between batches and machines stays out."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.levels or list(self.levels) != sorted(set(self.levels)):
            raise ValueError(f"levels must rise, each once, and be at least one: not {self.levels}")
        if self.neighbourhood % 2 == 0:
            raise ValueError(f"neighbourhood must be odd, so that it has a centre, not {self.neighbourhood}")
        if self.condition % 4:
            raise ValueError(f"condition must be a multiple of 4 (sine and cosine of two axes), not {self.condition}")
        return self
