"""The frozen encoder: EfficientNet-Lite0, whose layers are ours, or any of timm's by name."""

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from pipeline.detectors.encoder import Encoder, encoder_from_tensors, encoder_tensors, pretrained_encoder
from pipeline.errors import AndonError

pytestmark = pytest.mark.unit

IMAGES = torch.rand(1, 3, 70, 90, generator=torch.Generator().manual_seed(0)) * 2 - 1


def with_statistics(encoder: Encoder) -> Encoder:
    """As after training: fresh batch normalisations do nothing, and folding nothing would prove nothing."""
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
    return encoder


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "mobilenetv3_small_100"])
def test_levels_have_their_channels_and_strides(name: str) -> None:
    encoder = Encoder(name)
    for level, channels, stride in zip(encoder(IMAGES), encoder.channels, encoder.strides, strict=True):
        assert level.shape == (1, channels, -(-70 // stride), -(-90 // stride))


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18"])
def test_folded_it_sees_the_same_and_normalises_no_more(name: str) -> None:
    torch.manual_seed(0)
    encoder = with_statistics(Encoder(name))
    folded = encoder.folded()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    for before, after in zip(encoder(IMAGES), folded(IMAGES), strict=True):
        assert (before - after).abs().max() <= 1e-4 * before.abs().max()


def test_an_encoder_that_cannot_be_folded_is_left_alone() -> None:
    """A normalisation that is registered behind a convolution, but runs before it."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.norm = nn.BatchNorm2d(3)

        def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
            return [self.conv(self.norm(images))]

    encoder = Encoder("tf_efficientnet_lite0")
    encoder.net = Odd()
    assert with_statistics(encoder.eval()).folded() is encoder


def test_half_precision_in_the_bundle_hardly_moves_a_map() -> None:
    encoder = pretrained_encoder("tf_efficientnet_lite0", None)
    stored = encoder_from_tensors("tf_efficientnet_lite0", encoder_tensors(encoder))
    for before, after in zip(encoder(IMAGES), stored(IMAGES), strict=True):
        assert (before - after).abs().max() <= 5e-3 * before.abs().max()


def test_images_are_brought_to_the_scale_that_the_encoder_was_taught_on() -> None:
    """[−1, 1] to ImageNet's mean and deviation, for those that were taught with them."""
    encoder = Encoder("resnet18")
    seen: list[torch.Tensor] = []
    encoder.net.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    encoder(torch.zeros(1, 3, 64, 64))
    expected = [(0.5 - mean) / std for mean, std in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)]
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("levels", [(1, 2, 3), (0, 4), (2,)])
def test_the_encoder_without_timm_is_timms_to_the_bit(levels: tuple[int, ...]) -> None:
    import timm

    theirs = with_statistics(timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=levels)).eval()
    ours = Encoder("tf_efficientnet_lite0", levels)
    assert not type(ours.net).__module__.startswith("timm")
    state = theirs.state_dict()
    assert [key for key in state if key in ours.net.state_dict()] == list(ours.net.state_dict())
    ours.net.load_state_dict({key: state[key] for key in ours.net.state_dict()})
    info = theirs.feature_info
    assert (list(ours.channels), list(ours.strides)) == (info.channels(), info.reduction())
    assert (ours._mean, ours._std) == (tuple(theirs.default_cfg["mean"]), tuple(theirs.default_cfg["std"]))
    theirs.to(memory_format=torch.channels_last)
    for size in ((70, 90), (64, 65)):
        images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1
        given = images.contiguous(memory_format=torch.channels_last)
        assert all(torch.equal(a, b) for a, b in zip(theirs(given), ours(images), strict=True))


def weights_of(name: str, folder: Path) -> Path:
    path = folder / "weights.pth"
    torch.save(timm.create_model(name).state_dict(), path)
    return path


def test_a_network_that_begins_at_stride_4_has_its_levels_at_the_same_strides(tmp_path: Path) -> None:
    encoder = pretrained_encoder("convnext_atto", weights_of("convnext_atto", tmp_path), (2, 3, 4))
    assert encoder.strides == (8, 16, 32)
    stored = encoder_from_tensors("convnext_atto", encoder_tensors(encoder), (2, 3, 4))
    assert [one.shape[1] for one in stored(IMAGES)] == list(encoder.channels)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_a_network_for_one_size_of_frames_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(AndonError, match=rf"{name} gives no maps at levels 2, 3, 4.*Take a convolutional one"):
        pretrained_encoder(name, weights_of(name, tmp_path), (2, 3, 4))


@pytest.mark.parametrize("name", ["hf-hub:someone/model", "local-dir:/somewhere", ""])
def test_a_name_that_leads_out_of_timm_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle's manifest may hold it: timm would ask the hub, six times, while a replica waits."""
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: pytest.fail("timm was asked"))
    with pytest.raises(ValueError, match="knows no encoder"):
        Encoder(name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"epoch": 3, "state_dict": {"a": torch.zeros(1)}}, r"holds a checkpoint \(epoch, state_dict\) and no bare"),
        ([torch.zeros(1)], "holds a list and no bare state dict"),
        (torch.nn.Linear(1, 1), r"can read \(UnpicklingError: Weights only load failed\)$"),
    ],
    ids=["checkpoint", "list", "whole network"],
)
def test_what_else_trainings_save_is_told_from_weights(content: object, said: str, tmp_path: Path) -> None:
    """A checkpoint ended in a trace, and of a pickled network torch's advice was handed on to run what is in it."""
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(AndonError, match=said):
        pretrained_encoder("tf_efficientnet_lite0", tmp_path / "weights.pth")
