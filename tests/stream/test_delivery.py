"""Bundles brought from an archive."""

import fcntl
import hashlib
import io
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from support.certificates import signed, written

from pipeline.delivery import MAX_MEMBERS, check_bundles, fetch_bundles
from pipeline.detectors.bundle import MANIFEST, WEIGHTS, BundleError, BundleInfo
from pipeline.detectors.null import make_null_bundle
from pipeline.replica.recipes import Recipe, load_catalog
from workers.local.ports import LOOPBACK, free_ports

pytestmark = pytest.mark.unit


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    make_null_bundle(tmp_path / "made" / "cell", 32, 32)
    return tmp_path / "made" / "cell"


def packed(folder: Path) -> tuple[str, str]:
    """URL and hash of an archive with this bundle."""
    archive = folder.parent.parent / "bundles.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    return archive.as_uri(), hashlib.sha256(archive.read_bytes()).hexdigest()


def test_an_archive_becomes_bundles_that_load(bundle: Path, tmp_path: Path) -> None:
    found = fetch_bundles(*packed(bundle), tmp_path / "bundles")
    assert found == check_bundles(tmp_path / "bundles")
    assert sorted(path.name for path in (tmp_path / "bundles").iterdir()) == ["cell"]


def test_an_archive_with_another_hash_is_not_unpacked(bundle: Path, tmp_path: Path) -> None:
    url, _ = packed(bundle)
    with pytest.raises(BundleError, match="was promised"):
        fetch_bundles(url, "0" * 64, tmp_path / "bundles")
    assert not list((tmp_path / "bundles").iterdir())


@pytest.mark.parametrize("known", [True, False])
def test_a_server_with_an_authority_of_the_plants_own_is_asked_once_that_is_known(
    bundle: Path, tmp_path: Path, known: bool
) -> None:
    """As artifact servers inside a plant have."""
    _, sha256 = packed(bundle)
    authority = signed()
    certificate, key = written(tmp_path, "server", signed(authority))
    trusted, _ = written(tmp_path, "authority", authority if known else signed())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer((LOOPBACK, 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"https://{LOOPBACK}:{server.server_port}/bundles.tar.gz"
        andon = [sys.executable, "-c", "from workers.cli import main; main()"]
        done = subprocess.run(
            [*andon, "bundle", "fetch", url, "--sha256", sha256, "--to", str(tmp_path / "to")],
            capture_output=True, text=True, timeout=120, check=False, env=os.environ | {"SSL_CERT_FILE": str(trusted)},
        )  # fmt: skip
        server.shutdown()
    assert (tmp_path / "to" / "cell").is_dir() is known, done.stderr
    assert ("Name the authority that signed its certificate in SSL_CERT_FILE" in done.stderr) is not known


def test_a_bundle_with_changed_weights_is_not_delivered(bundle: Path, tmp_path: Path) -> None:
    weights = bundle / WEIGHTS
    weights.write_bytes(weights.read_bytes() + b"\0")
    with pytest.raises(BundleError, match="Copy the bundle again"):
        fetch_bundles(*packed(bundle), tmp_path / "bundles")
    assert not list((tmp_path / "bundles").iterdir())


def test_an_archive_that_leads_outside_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("../outside")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(BundleError, match="can't be unpacked"):
        fetch_bundles(archive.as_uri(), hashlib.sha256(archive.read_bytes()).hexdigest(), tmp_path / "bundles")
    assert not (tmp_path / "outside").exists()


def test_an_archive_of_files_without_end_is_refused(tmp_path: Path) -> None:
    """Empty ones, which no bound on bytes stops, fill a disk's inodes."""
    archive = tmp_path / "many.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for number in range(MAX_MEMBERS + 1):
            tar.addfile(tarfile.TarInfo(f"bundle/{number}"), io.BytesIO())
    with pytest.raises(BundleError, match="holds more than 10000 files and folders"):
        fetch_bundles(archive.as_uri(), hashlib.sha256(archive.read_bytes()).hexdigest(), tmp_path / "bundles")
    assert not list((tmp_path / "bundles").iterdir())


def test_an_archive_that_does_not_come_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"absent\.tar\.gz could not be fetched"):
        fetch_bundles((tmp_path / "absent.tar.gz").as_uri(), "0" * 64, tmp_path / "bundles")


def test_an_archive_that_breaks_off_is_not_called_changed(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 30)

        Thread(target=serve, daemon=True).start()
        url = f"http://{LOOPBACK}:{listener.getsockname()[1]}/bundles.tar.gz"
        with pytest.raises(BundleError, match="could not be fetched: its last 70 bytes did not come"):
            fetch_bundles(url, "0" * 64, tmp_path / "models", timeout_s=10)


def test_no_error_tells_the_signature_of_an_address(tmp_path: Path) -> None:
    """What a storage signs for a day stands in the query, and the errors of a pod are read by many."""
    signed = f"http://127.0.0.1:{free_ports(1)[0]}/bundles.tar.gz?X-Amz-Signature=secret"
    with pytest.raises(BundleError, match=r"/bundles\.tar\.gz\?… could not be fetched") as caught:
        fetch_bundles(signed, "0" * 64, tmp_path / "bundles")
    assert "secret" not in str(caught.value)


def test_a_new_delivery_takes_the_place_of_the_old(bundle: Path, tmp_path: Path) -> None:
    fetch_bundles(*packed(bundle), tmp_path / "bundles")
    (tmp_path / "bundles" / "cell" / "stale").touch()
    fetch_bundles(*packed(bundle), tmp_path / "bundles")
    assert not (tmp_path / "bundles" / "cell" / "stale").exists()


def test_who_is_killed_while_the_old_delivery_is_removed_leaves_a_bundle(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_bundles(*packed(bundle), tmp_path / "bundles")

    class Killed(BaseException): ...

    remove = shutil.rmtree

    def removed_and_killed(folder: str) -> None:
        remove(folder)
        raise Killed

    monkeypatch.setattr(shutil, "rmtree", lambda folder, **_: removed_and_killed(folder))
    with pytest.raises(Killed):
        fetch_bundles(*packed(bundle), tmp_path / "bundles")
    assert list(check_bundles(tmp_path / "bundles")) == ["cell"]


def test_what_a_killed_delivery_left_goes_and_what_another_works_in_stays(bundle: Path, tmp_path: Path) -> None:
    """An init container that is killed for its memory begins again, on the same disk of limited size."""
    left, in_use = (tmp_path / "bundles" / name for name in (".fetch-left", ".fetch-in-use"))
    for folder in (left, in_use):
        folder.mkdir(parents=True)
        (folder / "archive").touch()
    held = os.open(in_use, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        fetch_bundles(*packed(bundle), tmp_path / "bundles")
    finally:
        os.close(held)
    assert sorted(path.name for path in (tmp_path / "bundles").iterdir()) == [".fetch-in-use", "cell"]


def test_a_folder_without_bundles_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=MANIFEST):
        check_bundles(tmp_path)


def test_a_recipe_may_insist_on_one_model(bundle: Path) -> None:
    (info,) = check_bundles(bundle).values()
    recipe = Recipe(bundle=str(bundle), cameras=("*",), model_hash=info.model_hash)
    assert load_catalog({"cell": recipe}).recipes["cell"].model.hash == info.model_hash
    with pytest.raises(BundleError, match="accepts only model 0123456789abcdef"):
        load_catalog({"cell": recipe.model_copy(update={"model_hash": "0123456789abcdef"})})


def test_a_half_copy_of_the_model_that_runs_is_refused(bundle: Path, tmp_path: Path) -> None:
    """It was taken, since its manifest was whole: the replica went on with what it had, and could not start again."""
    running = load_catalog({"cell": Recipe(bundle=str(bundle), cameras=("*",))})
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    os.truncate(copy / WEIGHTS, 5)
    with pytest.raises(BundleError, match="the copy is damaged"):
        load_catalog({"cell": Recipe(bundle=str(copy), cameras=("*",))}, before=running)
    again = load_catalog({"all": Recipe(bundle=str(bundle), cameras=("*",))}, before=running)
    assert again.recipes["all"].detector is running.recipes["cell"].detector


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "link.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("cell/model.safetensors")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(BundleError, match="neither a file nor a folder"):
        fetch_bundles(archive.as_uri(), hashlib.sha256(archive.read_bytes()).hexdigest(), tmp_path / "bundles")


def fetched(archive: Path, into: Path) -> dict[str, BundleInfo]:
    return fetch_bundles(archive.as_uri(), hashlib.sha256(archive.read_bytes()).hexdigest(), into)


@pytest.mark.parametrize("within", [".", "all/cell"])
def test_an_archive_without_one_folder_a_bundle_is_refused(within: str, bundle: Path, tmp_path: Path) -> None:
    """Packed from within the bundle, `--to` itself became a bundle, under a name that nobody could find."""
    archive = tmp_path / "bundles.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(bundle, arcname=within)
    with pytest.raises(BundleError, match=r"bundles\.tar\.gz does not hold one folder a bundle"):
        fetched(archive, tmp_path / "bundles")
    assert not list((tmp_path / "bundles").iterdir())


def test_what_lies_beside_the_bundles_in_an_archive_is_left_out(bundle: Path, tmp_path: Path) -> None:
    (bundle.parent / "._cell").write_bytes(b"of a Mac")
    archive = tmp_path / "bundles.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for path in bundle.parent.iterdir():
            tar.add(path, arcname=path.name)
    fetched(archive, tmp_path / "bundles")
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == ["cell"]


def test_a_link_where_a_bundle_belongs_gives_way(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "cell").symlink_to(bundle)
    fetch_bundles(*packed(bundle), tmp_path / "bundles")
    assert not (tmp_path / "bundles" / "cell").is_symlink()
    assert (bundle / MANIFEST).is_file()


@pytest.mark.parametrize("room", [0, 4096])
def test_a_full_disk_is_blamed_and_not_the_address(room: int, bundle: Path, tmp_path: Path) -> None:
    """For the disk stands a limit on the size of a file: the archive, or what is in it, is larger."""
    (bundle / "large").write_bytes(bytes(1 << 20))
    url, sha256 = packed(bundle)
    fetch = "import sys; from pathlib import Path; from pipeline.delivery import fetch_bundles as f; "
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room})); "
    call = "f(sys.argv[1], sys.argv[2], Path(sys.argv[3]))"
    found = subprocess.run(
        [sys.executable, "-c", fetch + limit + call, url, sha256, str(tmp_path / "bundles")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "OSError: [Errno 27] File too large: " in found.stderr.splitlines()[-1]
    assert "could not be fetched" not in found.stderr


def test_an_address_with_a_space_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="holds a space") as caught:
        fetch_bundles("http://127.0.0.1:1/a b.tar.gz?key=secret", "0" * 64, tmp_path / "bundles")
    assert "secret" not in str(caught.value)


def test_a_broken_archive_is_told(tmp_path: Path) -> None:
    archive = tmp_path / "broken.tar.gz"
    archive.write_bytes(b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\xff" * 100)
    with pytest.raises(BundleError, match="can't be unpacked"):
        fetched(archive, tmp_path / "bundles")
