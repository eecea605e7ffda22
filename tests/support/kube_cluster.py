"""A real kube-apiserver on a real etcd, and nothing else of a cluster: it admits objects, and nobody acts on them."""

import json
import os
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from ssl import create_default_context

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from support import kube_tools

from workers.local.ports import LOOPBACK, free_ports
from workers.local.process import ChildProcess

READY_S = 180


@dataclass(frozen=True)
class KubeCluster:
    url: str
    kubeconfig: Path

    def kubectl(
        self, *arguments: str | Path, stdin: str | None = None, check: bool = True, timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        return self._run(kube_tools.kubectl(), arguments, stdin, check, timeout_s)

    def helm(
        self, *arguments: str | Path, check: bool = True, timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        return self._run(kube_tools.helm(), arguments, None, check, timeout_s)

    def shell(self, command: str) -> None:
        """As a person types it, with kubectl on the path."""
        path = f"{kube_tools.kubectl().parent}:{os.environ['PATH']}"
        home = self.kubeconfig.parent
        subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, timeout=120, check=True,
            env={"KUBECONFIG": str(self.kubeconfig), "HOME": str(home), "PATH": path},
        )  # fmt: skip

    def _run(
        self, program: Path, arguments: tuple[str | Path, ...], stdin: str | None, check: bool, timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        home = self.kubeconfig.parent
        done = subprocess.run(
            [str(program), *map(str, arguments)],
            input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False,
            env={"KUBECONFIG": str(self.kubeconfig), "HOME": str(home), "PATH": os.environ["PATH"]},
        )  # fmt: skip
        if check and done.returncode:
            words = " ".join(map(str, arguments))[:200]
            raise AssertionError(f"{program.name} {words}:\n{done.stderr[-4000:]}{done.stdout[-1000:]}")
        return done


@contextmanager
def running_cluster(folder: Path) -> Iterator[KubeCluster]:
    """Both processes are stopped, by their handles, whatever happens."""
    client, peer, secure = free_ports(3)
    etcd = ChildProcess("etcd", _etcd(folder, client, peer), folder / "etcd.log", folder)
    try:
        token = secrets.token_urlsafe(24)
        server = ChildProcess(
            "kube-apiserver", _apiserver(folder, client, secure, token), folder / "kube-apiserver.log", folder
        )
        try:
            cluster = KubeCluster(f"https://{LOOPBACK}:{secure}", _kubeconfig(folder, secure, token))
            _await(cluster, token, folder, server)
            yield cluster
        finally:
            server.stop(20)
    finally:
        etcd.stop(20)


def _etcd(folder: Path, client: int, peer: int) -> list[str]:
    client_url, peer_url = f"http://{LOOPBACK}:{client}", f"http://{LOOPBACK}:{peer}"
    options = {
        "data-dir": folder / "etcd",
        "listen-client-urls": client_url,
        "advertise-client-urls": client_url,
        "listen-peer-urls": peer_url,
        "initial-advertise-peer-urls": peer_url,
        "initial-cluster": f"default={peer_url}",
        "unsafe-no-fsync": "true",
    }
    return [str(kube_tools.etcd()), *(f"--{name}={value}" for name, value in options.items())]


def _apiserver(folder: Path, etcd_port: int, port: int, token: str) -> list[str]:
    key = folder / "service-account.key"
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    tokens = folder / "tokens.csv"
    tokens.touch(mode=0o600)
    tokens.write_text(f"{token},tester,tester,system:masters\n")
    options = {
        "etcd-servers": f"http://{LOOPBACK}:{etcd_port}",
        "bind-address": LOOPBACK,
        "advertise-address": LOOPBACK,
        "secure-port": port,
        "cert-dir": folder / "certificates",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": key,
        "service-account-signing-key-file": key,
        "service-cluster-ip-range": "10.96.0.0/16",
        "token-auth-file": tokens,
        "authorization-mode": "RBAC",
        "endpoint-reconciler-type": "none",
        # Nobody makes default service accounts here; Pod Security stays on.
        "disable-admission-plugins": "ServiceAccount",
    }
    return [str(kube_tools.kube_apiserver()), *(f"--{name}={value}" for name, value in options.items())]


def _kubeconfig(folder: Path, port: int, token: str) -> Path:
    path = folder / "kubeconfig"
    path.touch(mode=0o600)
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "tester"}}],
        "clusters": [
            {
                "name": "test",
                "cluster": {
                    "server": f"https://{LOOPBACK}:{port}",
                    "certificate-authority": str(folder / "certificates" / "apiserver.crt"),
                },
            }
        ],
        "users": [{"name": "tester", "user": {"token": token}}],
    }
    path.write_text(json.dumps(content))  # JSON is YAML
    return path


def _await(cluster: KubeCluster, token: str, folder: Path, server: ChildProcess) -> None:
    deadline = time.monotonic() + READY_S
    request = urllib.request.Request(f"{cluster.url}/readyz", headers={"Authorization": f"Bearer {token}"})
    while time.monotonic() < deadline and server.running:
        try:
            context = create_default_context(cafile=str(folder / "certificates" / "apiserver.crt"))
            with urllib.request.urlopen(request, timeout=5, context=context) as answer:
                if answer.status == 200:
                    return
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(0.3)
    raise AssertionError(f"the API server was not ready in {READY_S} s: {server.log_tail()}")
