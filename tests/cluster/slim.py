"""What `FROM python:3.11-slim` gets in a cluster without the internet: packages lie in the image."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.cluster.kuberay.images import build

SLIM = "python:3.11-slim"
PACKAGES = ("substratools", "substra", "substrafl", "numpy", "scikit-learn")
# Nothing can be upgraded either: SubstraFL's Dockerfiles try.
CONTAINERFILE = """FROM {registry}/python:3.11
RUN ln -s python3 /usr/bin/python && ln -s /bin/true /usr/local/bin/apt-get \\
 && ln -s /bin/true /usr/local/bin/pip
COPY wheels /opt/wheels
ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/opt/wheels PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
"""


def slim_image() -> str:
    """Its name, built and pushed to where Kaniko's mirror looks."""
    pinned = [f"{name}=={importlib.metadata.version(name)}" for name in PACKAGES]
    with TemporaryDirectory() as folder:
        wheels = Path(folder) / "wheels"
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(wheels)]
        kind = ["--python-version", "3.11", "--only-binary", ":all:"]
        subprocess.run([*pip, *kind, "pip", "setuptools", *pinned], check=True)
        build("slim", CONTAINERFILE, {"wheels": wheels}, tag=f"library/{SLIM}")
    return SLIM
