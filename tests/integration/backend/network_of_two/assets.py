"""What tests register: archives, functions, data managers, samples."""

import io
import json
import tarfile
import zipfile
from typing import Any

import httpx

from tests.integration.backend.network_of_two.conftest import Organization

PUBLIC: dict[str, Any] = {"public": True, "authorized_ids": []}
PRIVATE: dict[str, Any] = {"public": False, "authorized_ids": []}
FUNCTION: dict[str, Any] = {
    "name": "a function",
    "permissions": PUBLIC,
    "metadata": {"a": "b"},
    "inputs": {
        "shared": {"kind": "ASSET_MODEL", "multiple": False, "optional": True},
        "opener": {"kind": "ASSET_DATA_MANAGER", "multiple": False, "optional": False},
        "datasamples": {"kind": "ASSET_DATA_SAMPLE", "multiple": True, "optional": False},
    },
    "outputs": {"model": {"kind": "ASSET_MODEL", "multiple": False}},
}
CONTEXT = {"Dockerfile": b"FROM python", "function.py": b"pass"}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def post_function(
    organization: Organization,
    document: Any = FUNCTION,
    archive: bytes | None = None,
    description: bytes | None = b"# What it does \xc3\xa9",
) -> httpx.Response:
    files: dict[str, Any] = {"json": (None, json.dumps(document))}
    files["file"] = ("function.zip", zipped(CONTEXT) if archive is None else archive)
    if description is not None:
        files["description"] = ("description.md", description)
    return organization.post("/function/", files=files)


def post_data_manager(
    organization: Organization, permissions: Any = PUBLIC, opener: bytes = b"class Opener: ..."
) -> httpx.Response:
    document = {
        "name": "a dataset",
        "permissions": permissions,
        "logs_permission": permissions,
        "metadata": None,
    }
    files = {
        "json": (None, json.dumps(document)),
        "data_opener": ("opener.py", opener),
        "description": ("description.md", b"# data"),
    }
    return organization.post("/data_manager/", files=files)


def post_samples(
    organization: Organization, managers: list[str], *archives: bytes
) -> httpx.Response:
    files: list[Any] = [("json", (None, json.dumps({"data_manager_keys": managers})))]
    files += [(f"folder{n}", (f"folder{n}", archive)) for n, archive in enumerate(archives)]
    return organization.post("/data_sample/", files=files)


def post_paths(organization: Organization, manager: str, **fields: Any) -> httpx.Response:
    """Samples that lie at the server: `path`, or `paths`, or `path` and `multiple`."""
    return organization.post("/data_sample/", json={"data_manager_keys": [manager], **fields})
