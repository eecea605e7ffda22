"""The state of a training run on disk, so that a killed run goes on where it was. Arrays and JSON, never pickle."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from pipeline.files.durable import draft_of, naming, to_disk, write_whole

Say = Callable[[str], None]
_TENSORS = "state.safetensors"
_FACTS = "state.json"


def unsaid(_: object) -> None:
    """For whoever has nobody to tell."""


@dataclass(frozen=True)
class Progress:
    """Where a run is."""

    fingerprint: str
    """Hash of everything that the run's outcome depends on; a checkpoint of another run is not continued."""
    step: int
    elapsed_s: float
    loss: float


def save_checkpoint(folder: Path, progress: Progress, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Writes tensors under `group/name`. The facts come last, by rename, and name the file of the tensors. Raises
    OSError that names the file where the disk is full; what stood before is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors_file = folder / f"{progress.step}-{_TENSORS}"
    flat = {
        f"{group}/{name}": tensor.detach().cpu().contiguous()
        for group, state in groups.items()
        for name, tensor in state.items()
    }
    # Beside, and then by rename: whoever goes on from a finished training saves the same step once more.
    draft = draft_of(tensors_file)
    try:
        with naming(draft):
            draft.write_bytes(save(flat))  # raises OSError on a full disk, as nothing in safetensors does
        to_disk(draft)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    draft.replace(tensors_file)
    # On the disk, before the former tensors go.
    write_whole(folder / _FACTS, json.dumps({**asdict(progress), "tensors": tensors_file.name}))
    for stale in folder.glob(f"*-{_TENSORS}*"):
        if stale != tensors_file:
            stale.unlink()


def load_checkpoint(
    folder: Path, fingerprint: str, say: Say = unsaid
) -> tuple[Progress, dict[str, dict[str, Tensor]]] | None:
    """The last whole checkpoint of this very run, or None. One that is there and is passed over is told of: the next
    one takes its place."""
    if not (folder / _FACTS).exists():
        return None
    try:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        flat = load_file(folder / facts.pop("tensors"))
        progress = Progress(**facts)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        say(f"note: the checkpoint in {folder} cannot be read: training begins anew")
        return None
    if progress.fingerprint != fingerprint:
        say(
            f"note: the checkpoint in {folder}, of {progress.step} steps, is of a training with other images, options "
            "or threads (OMP_NUM_THREADS), or of another release: this one begins anew and takes its place"
        )
        return None
    groups: dict[str, dict[str, Tensor]] = {}
    for path, tensor in flat.items():
        group, name = path.split("/", 1)
        groups.setdefault(group, {})[name] = tensor
    return progress, groups


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of Adam and its like, parameter by parameter, as flat tensors."""
    state = optimiser.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value) for index, values in state.items() for name, value in values.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Undoes `optimiser_tensors`. Learning rates are not state: the schedule sets them before every step."""
    whole = optimiser.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for path, tensor in tensors.items():
        index, name = path.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    optimiser.load_state_dict({**whole, "state": state})
