"""An image with the programs of the small services: PostgreSQL, MinIO and the registry of this machine.

The images that the charts name by default come from the internet, which a test's cluster need not have.
"""

import shutil
from pathlib import Path

from network.postgres_binaries import WHEEL, installation
from tests.cluster.kuberay.images import build

SERVICES = """
FROM {registry}/python:3.11
RUN useradd --uid 999 postgres
COPY postgresql /opt/wheel/postgresql
COPY libraries /opt/wheel.libs
COPY registry minio /usr/local/bin/
ENV LD_LIBRARY_PATH=/opt/wheel.libs PATH=/opt/wheel/postgresql/bin:/usr/local/bin:/usr/bin:/bin
"""


def services_image() -> str:
    """Its reference by digest, built and pushed."""
    programs = {name: shutil.which(name) for name in ("minio", "docker-registry")}
    assert all(programs.values()), f"not on PATH: {programs}"
    files: dict[str, Path | str] = {
        "postgresql": installation(),
        "libraries": installation().parent.with_name(f"{WHEEL}.libs"),
        "minio": Path(str(programs["minio"])),
        "registry": Path(str(programs["docker-registry"])),
    }
    return build("small-services", SERVICES, files)
