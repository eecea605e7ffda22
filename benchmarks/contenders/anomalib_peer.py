"""anomalib's methods, trained by its own Engine. Runs in an environment of its own and imports nothing of Andon."""

import datetime
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from stand import Job, main

_BLOCKS = {"tf_efficientnet_lite0": ("blocks.0", "blocks.1", "blocks.2", "blocks.4", "blocks.6")}
"""timm's names of the feature levels; other encoders of this kind name theirs so, too."""
_CORESET = {"patchcore": 0.002}
"""The share of fibres kept. The default, 0.1, takes hours of greedy choice on one core, and 0.01 takes one."""


class Peer:
    scored_at_once = 32
    """anomalib's own. Its CFLOW takes the likeliest fibre of a batch as the measure of all: one by one, each frame is
    measured by its own, which costs image AUROC and more of pixels'."""

    def train(self, job: Job) -> dict[str, Any]:
        import torch
        from anomalib.data import Folder
        from anomalib.engine import Engine
        from torchvision.transforms import v2

        out = Path(job.out)
        images = out / "images" / "good"
        images.mkdir(parents=True, exist_ok=True)
        for path in job.train:
            (images / Path(path).name).write_bytes(Path(path).read_bytes())
        model = _model(job)
        # What the encoder was taught on; anomalib's own default is that of ImageNet's ResNets.
        same = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)])
        model.pre_processor.transform = same
        model.pre_processor.export_transform = same
        data = Folder(
            name="benchmark",
            root=out / "images",
            normal_dir="good",
            train_batch_size=16,
            eval_batch_size=16,
            num_workers=0,
            test_split_mode="none",
            val_split_mode="none",
            seed=0,
        )
        engine = Engine(
            accelerator="cpu",
            devices=1,
            logger=False,
            default_root_dir=out / "engine",
            max_time=datetime.timedelta(minutes=job.minutes),
            num_sanity_val_steps=0,
            limit_val_batches=0,
            enable_progress_bar=False,
            # Its default, 50, is reached by none within the time on two cores.
            **({} if job.method == "patchcore" else {"max_epochs": 50}),
        )
        engine.fit(model=model, datamodule=data)
        torch.save(model.model.state_dict(), out / "weights.pt")
        engine.trainer.save_checkpoint(out / "whole.ckpt")
        settings = {"epochs": int(engine.trainer.current_epoch), "steps": int(engine.trainer.global_step)}
        return {
            "settings": {**settings, "coreset": _CORESET.get(job.method)},
            "model_bytes": (out / "weights.pt").stat().st_size,
            "checkpoint_bytes": (out / "whole.ckpt").stat().st_size,
        }

    def load(self, job: Job) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
        import torch

        state = torch.load(Path(job.out) / "weights.pt", map_location="cpu", weights_only=True)
        network = _model(job).model.eval()
        if "memory_bank" in state:
            network.memory_bank = torch.empty_like(state["memory_bank"])
        network.load_state_dict(state)

        @torch.inference_mode()
        def predict(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            images = torch.from_numpy(frames).float()[:, None].expand(-1, 3, -1, -1) / 127.5 - 1.0
            found = network.eval()(images)
            maps = found.anomaly_map
            # PatchCore's are (N, 1, H, W); CFLOW's are (N, H, W), whatever its docstring says.
            return found.pred_score.flatten().numpy(), (maps[:, 0] if maps.ndim == 4 else maps).numpy()

        return predict


def _model(job: Job) -> Any:
    from anomalib.models import Cflow, Patchcore

    if job.method == "fastflow":
        return _fastflow(job)
    layers = [_BLOCKS[job.encoder][level] for level in job.levels]
    common = {"backbone": job.encoder, "layers": layers, "pre_trained": False, "evaluator": False, "visualizer": False}
    if job.method == "patchcore":
        model = Patchcore(**common, coreset_sampling_ratio=_CORESET["patchcore"])
        extractor = model.model.feature_extractor
    else:
        model = Cflow(**common)
        extractor = model.model.encoder
    _fill(extractor.feature_extractor, job.encoder_weights)
    return model


def _fastflow(job: Job) -> Any:
    """FastFlow refuses all encoders but four by their names; what it builds on their maps depends on the maps' sizes
    alone. So it is told one of the names, and gets the encoder that all are given where it asks timm for it. Its levels
    stay its own: strides 4, 8 and 16."""
    from unittest.mock import patch

    from anomalib.models import Fastflow
    from anomalib.models.image.fastflow import torch_model

    make = torch_model.timm.create_model

    def given(_: str, pretrained: bool, **how: Any) -> Any:
        return make(job.encoder, pretrained=pretrained, **how)

    with patch.object(torch_model.timm, "create_model", given):
        model = Fastflow(
            backbone="resnet18",
            pre_trained=False,
            pre_processor=Fastflow.configure_pre_processor(job.frames(job.train[:1]).shape[1:]),
            evaluator=False,
            visualizer=False,
        )
    _fill(model.model.feature_extractor, job.encoder_weights)
    return model


def _fill(network: Any, weights: str) -> None:
    """The same tensors that Andon's methods look through."""
    from safetensors.torch import load_file

    given = load_file(weights)
    own = network.state_dict()
    missing = [name for name in own if name not in given and not name.endswith("num_batches_tracked")]
    if missing:
        raise SystemExit(f"{weights} lacks {len(missing)} of the encoder's tensors, for instance {missing[0]}")
    network.load_state_dict({name: given.get(name, value) for name, value in own.items()})


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main(Peer())
