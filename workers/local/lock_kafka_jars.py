"""Writes kafka_jars.txt for a version of Apache Kafka: `python -m workers.local.lock_kafka_jars 4.4.0`."""

import sys

from workers.local.kafka_jars import LIST, Jar, maven_context, sha256_of

# Kafka logs through SLF4J and brings no writer of its own. This one prints to stderr and needs no configuration file.
_LOG_BINDING = "org.slf4j:slf4j-simple:1.7.36"


def resolve(kafka_version: str) -> list[Jar]:
    context = maven_context()
    wanted = [f"org.apache.kafka:kafka_2.13:{kafka_version}", _LOG_BINDING]
    inputs, transitive = context.resolver.resolve([context.create_dependency(name) for name in wanted])
    artifacts = [dep.artifact for dep in [*inputs, *transitive] if dep.scope in (None, "compile", "runtime")]
    return [Jar(art.groupId, art.artifactId, art.version, sha256_of(art.resolve())) for art in artifacts]


def main(kafka_version: str) -> None:
    jars = resolve(kafka_version)
    head = f"# Apache Kafka {kafka_version} and what it needs, written by workers/local/lock_kafka_jars.py\n"
    LIST.write_text(head + "".join(f"{jar}\n" for jar in jars), encoding="utf-8")
    print(f"{LIST}: {len(jars)} jars")


if __name__ == "__main__":
    main(sys.argv[1])
