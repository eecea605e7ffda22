"""The facts of the machine: a number without them says nothing."""

import hashlib
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

MB = 1_000_000


@dataclass(frozen=True)
class Machine:
    cpu: str
    cores: int
    memory_gb: float
    kernel: str
    python: str
    torch: str
    torch_threads: int
    kafka_python: str
    ray: str

    @property
    def short_id(self) -> str:
        """Equal for equal hardware; names nobody."""
        return hashlib.sha256(f"{self.cpu}|{self.cores}|{self.memory_gb}".encode()).hexdigest()[:6]

    @property
    def line(self) -> str:
        return (
            f"{self.cpu}, {self.cores} cores, {self.memory_gb:g} GB, {self.kernel}; Python {self.python}, torch "
            f"{self.torch} ({self.torch_threads} threads), kafka-python {self.kafka_python}, Ray {self.ray}"
        )


def this_machine() -> Machine:
    import torch

    return Machine(
        cpu=_cpu_model(),
        cores=os.cpu_count() or 1,
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        torch=torch.__version__,
        torch_threads=torch.get_num_threads(),
        kafka_python=version("kafka-python"),
        ray=version("ray"),
    )


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    if sys.platform == "linux":
        # `ps` is not in every container.
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / MB
    listed = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True, timeout=5)
    return int(listed.stdout) * 1024 / MB


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
