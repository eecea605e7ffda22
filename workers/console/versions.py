"""A threshold that a person has chosen, as a new version of the bundle beside the old one. Nothing is overwritten, and
nothing is deployed from here."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.detectors.bundle import MANIFEST, BundleError, BundleInfo, Calibration, copy_bundle, read_info
from pipeline.events import now
from pipeline.replica.recipes import SHIPPED_BUNDLES

_VERSION = re.compile(r"(.*)-v(\d+)")
_LOOKED_AT = 500


@dataclass(frozen=True)
class Version:
    folder: Path
    info: BundleInfo


def find_bundle(model_hash: str, own: Path) -> Path | None:
    """The bundle that made a score: among the page's own versions, in ANDON_BUNDLES, or among the shipped ones."""
    roots = [own, *(Path(root) for root in [os.environ.get("ANDON_BUNDLES")] if root), SHIPPED_BUNDLES]
    for root in roots:
        for manifest in sorted(root.glob(f"*/{MANIFEST}"))[:_LOOKED_AT]:
            try:
                if read_info(manifest.parent).model_hash == model_hash:
                    return manifest.parent
            except BundleError:
                continue  # not every folder there is ours to judge
    return None


def write_version(source: Path, own: Path, threshold: float, *, actor: str, role: str, reason: str) -> Version:
    """A copy with this threshold in `own`, named after the next free version. Appears whole or not at all.

    Raises BundleError.
    """
    info = read_info(source)
    own.mkdir(parents=True, exist_ok=True)
    match = _VERSION.fullmatch(info.name)
    stem, number = (match[1], int(match[2]) + 1) if match else (info.name, 2)
    facts = {
        "by": actor,
        "role": role,
        "reason": reason,
        "at": now().isoformat(timespec="seconds"),
        "from": info.calibration.threshold,
        "model": info.model_hash,
    }
    with tempfile.TemporaryDirectory(dir=own, prefix=".version-") as scratch:
        while True:
            folder = own / f"{stem}-v{number}"
            written = info.model_copy(
                update={
                    "name": folder.name,
                    "calibration": _at(info.calibration, threshold),
                    "training": {**info.training, "threshold_chosen": facts},
                }
            )
            draft = Path(scratch) / folder.name
            copy_bundle(source, draft, written)
            try:
                draft.rename(folder)  # fails where a folder of that name holds something
            except OSError:
                if not folder.exists():
                    raise
                shutil.rmtree(draft)
                number += 1
                continue
            return Version(folder, written)


def _at(calibration: Calibration, threshold: float) -> Calibration:
    """The false-alarm rate as the calibration's quantiles have it. What `andon calibrate` promised was of another
    threshold, and is taken out."""
    levels = sorted((float(level), score) for level, score in calibration.score_quantiles.items())
    below = (
        float(np.interp(threshold, [score for _, score in levels], [level for level, _ in levels])) if levels else 0.5
    )
    rate = 1 - below
    if levels and threshold >= levels[-1][1]:
        # Beyond the last quantile nothing is known but the rate that the old threshold stood for.
        rate = min(rate, calibration.false_alarm_rate)
    return calibration.model_copy(
        update={"threshold": threshold, "false_alarm_rate": min(0.999, max(1e-9, rate)), "promise": None}
    )
