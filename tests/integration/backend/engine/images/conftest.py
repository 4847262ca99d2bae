"""A builder on a folder that all tests of this room share, so that packages are fetched once."""

import io
import os
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from backend.engine.images.embedded import BuildFailed, BuiltImage, EmbeddedBuilder
from backend.engine.images.store import ImageStore
from tests.integration.backend.engine.world import World

PASSED = ("PIP_", "UV_INDEX", "UV_DEFAULT_INDEX", "UV_FIND_LINKS", "SSL_CERT", "HTTP", "NO_PROXY")
RUN_ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name.upper().startswith(PASSED)
}


def archive_of(folder: Path, files: dict[str, str]) -> Path:
    path = folder / f"{len(list(folder.iterdir()))}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path


@dataclass
class Workshop:
    """Builds Dockerfiles given as text; `log` is the last build's."""

    media: Path
    folder: Path
    builder: EmbeddedBuilder
    log: str = ""

    @property
    def store(self) -> ImageStore:
        return ImageStore(self.media)

    def build(self, dockerfile: str, **files: str) -> BuiltImage:
        return self.build_files({"Dockerfile": dockerfile, "function.py": "print(1)\n", **files})

    def build_files(self, files: dict[str, str]) -> BuiltImage:
        log = self.folder / "build.log"
        try:
            return self.builder.build(archive_of(self.folder, files), log)
        finally:
            self.log = log.read_text()

    def fail(self, dockerfile: str, **files: str) -> str:
        with pytest.raises(BuildFailed) as caught:
            self.build(dockerfile, **files)
        assert caught.value.log_path.read_text() == self.log
        assert self.log.splitlines()[-1] == f"ERROR: {caught.value.reason}"
        return caught.value.reason


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("media-of-org-1")


@pytest.fixture
def make_workshop(media: Path, tmp_path: Path) -> Callable[..., Workshop]:
    def make(timeout_s: float = 120) -> Workshop:
        builder = EmbeddedBuilder(media, run_environment=RUN_ENVIRONMENT, timeout_s=timeout_s)
        folder = Path(tempfile.mkdtemp(prefix="workshop-", dir=tmp_path))
        return Workshop(media, folder, builder)

    return make


@pytest.fixture
def workshop(make_workshop: Callable[..., Workshop]) -> Workshop:
    return make_workshop()


def store_archive(world: World, function: str) -> None:
    """The stored archive that a build starts from."""
    with world.storage.writer() as writer:
        writer.write(b"archive")
        writer.commit(f"functions/{function}/archive")
    world.execute(
        "INSERT INTO function_file (key, channel, archive_file, archive_name, archive_checksum, "
        "description_file, description_name, description_checksum, creation_date) "
        "VALUES (:key, 'mychannel', :file, 'a', :checksum, '', '', '', now())",
        key=function,
        file=f"functions/{function}/archive",
        checksum=uuid4().hex,
    )
