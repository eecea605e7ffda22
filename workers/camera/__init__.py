"""The camera worker: sources → buffer → Kafka, with a spool on disk while Kafka is away. Every frame is counted.

    feeder (one thread a camera) ──▶ buffer ──▶ uplink (one thread) ──▶ Kafka
                                                   └──▶ spool ──┘
    heartbeats (one thread): proves that Kafka takes records, and tells what became of every frame

Nothing here imports torch or ray; `av` is imported by the video source only.
"""
