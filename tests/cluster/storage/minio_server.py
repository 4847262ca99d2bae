"""A MinIO server of our own: a process on a free port, its files in a folder that goes with the test."""

import datetime as dt
import ipaddress
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

KEY, SECRET = "an-access-key", "a-secret-key"
START_S = 60.0


@dataclass
class MinioServer:
    address: str
    folder: Path
    options: list[str] = field(default_factory=list)
    _process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Run it, until it answers; what was in the folder is still there."""
        with self.folder.with_name(f"{self.folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [binary(), "server", str(self.folder), "--quiet", *self.options],
                env={
                    **os.environ,
                    "MINIO_ROOT_USER": KEY,
                    "MINIO_ROOT_PASSWORD": SECRET,
                    "MINIO_BROWSER": "off",
                },
                stdout=log,
                stderr=log,
            )
        _wait(self._process, self.address)

    def stop(self) -> None:
        """Kill it: connections end, new ones are refused."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def binary() -> str:
    """The program, as the lab builds it. Raises AssertionError where there is none."""
    found = shutil.which("minio")
    assert found, "no minio on PATH: docs/development.md says how to get the lab's"
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def minio_server(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    certificates: Path | None = None,
) -> Iterator[MinioServer]:
    """Running and answering; ended at the end of the block. The same folder and port again continue it."""
    place = f"{host}:{port or free_port()}"
    address = f"{'https' if certificates else 'http'}://{place}"
    options = ["--address", place]
    if certificates:
        options += ["--certs-dir", str(certificates)]
    server = MinioServer(address, folder, options)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _wait(server: "subprocess.Popen[bytes]", address: str) -> None:
    deadline = time.monotonic() + START_S
    with httpx.Client(verify=False) as client:
        while True:
            try:
                if client.get(f"{address}/minio/health/ready").status_code == 200:
                    return
            except httpx.TransportError:
                assert server.poll() is None, "MinIO ended at once"
                assert time.monotonic() < deadline, "MinIO does not answer"
            time.sleep(0.05)


def make_certificate(folder: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 as MinIO wants it; returns its file, its own authority."""
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "storage test")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = folder / "public.crt"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "private.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return public
