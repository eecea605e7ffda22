"""Brings bundles to where they are used: an archive fetched, its hash checked, unpacked without surprises.

For the init container of a replica (`andon bundle fetch`). What was unpacked is looked at as a replica would.
"""

import hashlib
import shutil
import tarfile
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from pipeline.addresses import without_password
from pipeline.detectors.bundle import MANIFEST, BundleError, BundleInfo, load_bundle

MAX_ARCHIVE_BYTES = 8 * 1024**3
MAX_UNPACKED_BYTES = 16 * 1024**3
_CHUNK_BYTES = 1024 * 1024


def fetch_bundles(url: str, sha256: str, into: Path, *, timeout_s: float = 30) -> dict[str, BundleInfo]:
    """Unpacks a .tar.gz with one folder a bundle into `into`. Each appears whole or not at all.

    Returns bundle name → info. timeout_s: of each network step.
    Raises BundleError for another hash, an unsafe member, a broken bundle, or an archive that does not come.
    """
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into, prefix=".fetch-") as scratch:
        archive = Path(scratch) / "archive"
        found = _download(url, archive, timeout_s)
        if found != sha256:
            raise BundleError(
                f"{without_password(url)} has sha256 {found}, but {sha256} was promised: it was changed, or the "
                "promise is of another archive. Nothing was unpacked"
            )
        unpacked = Path(scratch) / "unpacked"
        _unpack(archive, unpacked)
        bundles = check_bundles(unpacked)
        for folder in unpacked.iterdir():
            target = into / folder.name
            if target.is_dir():
                shutil.rmtree(target)
            folder.rename(target)
    return bundles


def check_bundles(root: Path) -> dict[str, BundleInfo]:
    """Bundle name → info, of the folder itself or of every bundle in it, weights and all. Raises BundleError."""
    folders = [root] if (root / MANIFEST).is_file() else sorted(path.parent for path in root.glob(f"*/{MANIFEST}"))
    if not folders:
        raise BundleError(f"{root} holds no bundle: expected one folder a bundle, each with a {MANIFEST}")
    return {folder.name: load_bundle(folder)[0] for folder in folders}


def _download(url: str, into: Path, timeout_s: float) -> str:
    """Its sha256."""
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer, into.open("wb") as file:
            for chunk in iter(lambda: answer.read(_CHUNK_BYTES), b""):
                digest.update(chunk)
                file.write(chunk)
                if file.tell() > MAX_ARCHIVE_BYTES:
                    raise BundleError(f"{without_password(url)} is larger than {MAX_ARCHIVE_BYTES} bytes")
    except (OSError, ValueError) as error:
        raise BundleError(f"{without_password(url)} could not be fetched: {error}") from error
    return digest.hexdigest()


def _unpack(archive: Path, into: Path) -> None:
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in _limited(tar):
                _take(tar, member, into)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise BundleError(f"the archive can't be unpacked: {error}") from error


def _take(tar: tarfile.TarFile, member: tarfile.TarInfo, into: Path) -> None:
    """Its content alone: no owner, no mode, no link. (`filter="data"` is not there before Python 3.11.4.)"""
    place = (into / member.name).resolve()
    if not place.is_relative_to(into.resolve()):
        raise BundleError(f"the archive can't be unpacked: {member.name!r} leads outside")
    if member.isdir():
        place.mkdir(parents=True, exist_ok=True)
        return
    content = tar.extractfile(member) if member.isfile() else None
    if content is None:
        raise BundleError(f"the archive can't be unpacked: {member.name!r} is neither a file nor a folder")
    place.parent.mkdir(parents=True, exist_ok=True)
    with content, place.open("wb") as file:
        shutil.copyfileobj(content, file)


def _limited(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    total = 0
    for member in tar:
        total += member.size
        if total > MAX_UNPACKED_BYTES:
            raise BundleError(f"the archive holds more than {MAX_UNPACKED_BYTES} bytes")
        yield member
