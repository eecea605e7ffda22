"""Brings bundles to where they are used: an archive fetched, its hash checked, unpacked without surprises.

For the init container of a replica (`andon bundle fetch`). What was unpacked is looked at as a replica would.
"""

import fcntl
import gzip
import hashlib
import os
import shutil
import ssl
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, InvalidURL
from pathlib import Path

from pipeline.addresses import without_password
from pipeline.detectors.bundle import MANIFEST, BundleError, BundleInfo, load_bundle
from pipeline.files.durable import naming

MAX_ARCHIVE_BYTES = 8 * 1024**3
MAX_UNPACKED_BYTES = 16 * 1024**3
MAX_MEMBERS = 10_000
"""A bundle has some ten. Empty files have no bytes to bound, and fill a disk's inodes."""
_CHUNK_BYTES = 1024 * 1024
_SCRATCH = ".fetch-"


def fetch_bundles(url: str, sha256: str, into: Path, *, timeout_s: float = 30) -> dict[str, BundleInfo]:
    """Unpacks a .tar.gz with one folder a bundle into `into`. Each appears whole or not at all; what else is in the
    archive (a Mac's ._files, a README beside the bundles) is left out.

    Returns bundle name → info. timeout_s: of each network step.
    Raises BundleError for another hash, an unsafe member, a broken bundle, or an archive that does not come; OSError
    that names the file, of a full disk for instance.
    """
    into.mkdir(parents=True, exist_ok=True)
    with _scratch(into) as scratch:
        archive = Path(scratch) / "archive"
        found = _download(url, archive, timeout_s)
        if found != sha256:
            raise BundleError(
                f"{without_password(url)} has sha256 {found}, but {sha256} was promised: it was changed, or the "
                "promise is of another archive. Nothing was unpacked"
            )
        unpacked = Path(scratch) / "unpacked"
        _unpack(archive, unpacked)
        if (unpacked / MANIFEST).is_file() or not any(unpacked.glob(f"*/{MANIFEST}")):
            raise BundleError(
                f"{without_password(url)} does not hold one folder a bundle, each with a {MANIFEST}: make it with "
                "tar -czf bundles.tar.gz -C FOLDER-OF-BUNDLES NAME…. Nothing was unpacked"
            )
        bundles = check_bundles(unpacked)
        former = Path(scratch) / "former"
        former.mkdir()
        for name in bundles:
            target = into / name
            # Aside, not away: to remove a large one takes long, and who is killed meanwhile would leave none.
            if target.is_symlink() or target.exists():
                target.rename(former / name)
            (unpacked / name).rename(target)
    return bundles


@contextmanager
def _scratch(into: Path) -> Iterator[str]:
    """A folder to work in, gone at the end; so are those of whoever was killed, which would fill the disk."""
    for left in into.glob(f"{_SCRATCH}*"):
        with _held(left) as free:
            if free:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=into, prefix=_SCRATCH) as scratch, _held(Path(scratch)):
        yield scratch


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Whether nobody else holds the folder: until the end, or until this process ends, it is this one's."""
    try:
        opened = os.open(folder, os.O_RDONLY)
    except OSError:  # gone meanwhile
        yield False
        return
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        free = True
    except OSError:
        free = False
    try:
        yield free
    finally:
        os.close(opened)


def check_bundles(root: Path) -> dict[str, BundleInfo]:
    """Bundle name → info, weights and all, of `bundle_folders`. Raises BundleError."""
    return {folder.name: load_bundle(folder)[0] for folder in bundle_folders(root)}


def bundle_folders(root: Path) -> list[Path]:
    """The folder itself, or every bundle in it. Raises BundleError where there is none."""
    folders = [root] if (root / MANIFEST).is_file() else sorted(path.parent for path in root.glob(f"*/{MANIFEST}"))
    if not folders:
        raise BundleError(f"{root} holds no bundle: expected one folder a bundle, each with a {MANIFEST}")
    return folders


def _download(url: str, into: Path, timeout_s: float) -> str:
    """Its sha256."""
    digest = hashlib.sha256()
    with _blaming(url):
        answer = urllib.request.urlopen(url, timeout=timeout_s)
    with answer, naming(into), into.open("wb") as file:
        while True:
            with _blaming(url):
                chunk = answer.read(_CHUNK_BYTES)
            if not chunk:
                if left := getattr(answer, "length", None):  # http.client tells it to who reads all at once, alone
                    raise BundleError(
                        f"{without_password(url)} could not be fetched: its last {left} bytes did not come"
                    )
                return digest.hexdigest()
            digest.update(chunk)
            file.write(chunk)
            if file.tell() > MAX_ARCHIVE_BYTES:
                raise BundleError(f"{without_password(url)} is larger than {MAX_ARCHIVE_BYTES} bytes")


@contextmanager
def _blaming(url: str) -> Iterator[None]:
    """What fails within is the address' fault, not the disk's."""
    try:
        yield
    except InvalidURL as error:  # whose words hold the whole address, signature and all
        raise BundleError(f"{without_password(url)} is no address: it holds a space or a control character") from error
    except (OSError, ValueError, HTTPException) as error:
        told = f"{without_password(url)} could not be fetched: {error}"
        if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
            told += (
                ". Name the authority that signed its certificate in SSL_CERT_FILE (the chart: bundles.fetch.caSecret)"
            )
        raise BundleError(told) from error


def _unpack(archive: Path, into: Path) -> None:
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in _limited(tar):
                _take(tar, member, into)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
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
    with content, naming(place), place.open("wb") as file:
        shutil.copyfileobj(content, file)


def _limited(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    total = 0
    for number, member in enumerate(tar):
        if number >= MAX_MEMBERS:
            raise BundleError(f"the archive holds more than {MAX_MEMBERS} files and folders")
        total += member.size
        if total > MAX_UNPACKED_BYTES:
            raise BundleError(f"the archive holds more than {MAX_UNPACKED_BYTES} bytes")
        yield member
