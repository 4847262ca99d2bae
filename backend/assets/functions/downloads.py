"""The files of functions: archive, description, image (rest-api.md 18, rules 31 and 43)."""

import json
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from backend.access.caller import Caller
from backend.assets.downloads import MARKDOWN, Download, check_not_isolated, check_permitted
from backend.assets.functions import store
from backend.assets.functions.images import layer_file, manifest_file
from backend.kit.errors import BadRequest, Gone, NotFound
from backend.kit.keys import checked_key
from backend.node import Node
from backend.ports.storage import StoredFileMissing

MODEL = "Function"
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")


class FunctionDownloads:
    """Decides on downloads; everything needs the function's `process` permission."""

    def __init__(self, node: Node, caller: Caller) -> None:
        self._node = node
        self._caller = caller

    def archive(self, text: str) -> Download:
        """Raises what `backend.assets.downloads` says, in its order."""
        key, function = self._permitted(text)
        files = self._files(key, function)
        return Download(
            owner=function.owner,
            path=f"function/{key}/file/",
            name=files.archive_name if files else str(key),
            checksum=function.archive_checksum,
            local=files.archive_file if files else None,
        )

    def description(self, text: str) -> Download:
        """As `archive`."""
        key, function = self._permitted(text)
        files = self._files(key, function)
        return Download(
            owner=function.owner,
            path=f"function/{key}/description/",
            name=files.description_name if files else str(key),
            checksum=function.description_checksum,
            local=files.description_file if files else None,
            media_type=MARKDOWN,
        )

    def image(self, text: str, layer: str | None) -> Download:
        """The image's manifest, or one layer of it.

        Raises:
            BadRequest: a malformed digest (400). NotFound: a layer that is none of this image (404).
            Gone: the image is not built (410). Others as `archive`.
        """
        key, function = self._permitted(text)
        if layer is not None and not _DIGEST.fullmatch(layer):
            raise BadRequest(f'layer is not a digest: "{layer}"')
        path = f"function/{key}/image/" + (f"?layer={layer}" if layer else "")
        if function.owner != self._node.own:
            if function.image_checksum is None:
                raise Gone
            checksum = layer.removeprefix("sha256:") if layer else function.image_checksum
            return Download(function.owner, path, str(key), checksum)
        checksum = function.image_checksum or self._own_image(key)
        if checksum is None:
            raise Gone
        if self._node.settings.BUILDER != "embedded":
            return self._stored(function.owner, path, checksum, layer)
        images = self._node.settings.MEDIA_ROOT / "images"
        manifest = images / "manifests" / f"{checksum}.json"
        if layer is None:
            return Download(function.owner, path, str(key), checksum, manifest)
        digest = layer.removeprefix("sha256:")
        if layer not in _layers(manifest):
            raise NotFound("No such layer in the image of this function")
        blob = images / "layers" / f"{digest}.tar"
        return Download(function.owner, path, f"{digest}.tar", digest, blob)

    def _stored(self, owner: str, path: str, checksum: str, layer: str | None) -> Download:
        """An image that was built in a registry: its blobs lie in the storage."""
        if layer is None:
            return Download(owner, path, f"{checksum}.json", checksum, manifest_file(checksum))
        try:
            manifest = json.loads(b"".join(self._node.storage.read(manifest_file(checksum))))
        except StoredFileMissing:
            raise Gone from None
        if layer not in {part["digest"] for part in (manifest["config"], *manifest["layers"])}:
            raise NotFound("No such layer in the image of this function")
        digest = layer.removeprefix("sha256:")
        return Download(owner, path, f"{digest}.tar", digest, layer_file(layer))

    def _permitted(self, text: str) -> tuple[UUID, Any]:
        check_not_isolated(self._node)
        key = checked_key(text)
        with self._node.database.reading() as connection:
            function = store.permission(connection, self._caller.channel, key)
        if function is None:
            raise NotFound.of(MODEL)
        check_permitted(
            self._caller, public=function.public, authorized_ids=function.authorized_ids
        )
        return key, function

    def _files(self, key: UUID, function: Any) -> Any | None:
        if function.owner != self._node.own:
            return None
        with self._node.database.reading() as connection:
            return store.files(connection, key)

    def _own_image(self, key: UUID) -> str | None:
        with self._node.database.reading() as connection:
            return store.image_checksum(connection, key)


def _layers(manifest: Path) -> set[str]:
    """The digests that a manifest names.

    Raises:
        Gone: the manifest is not there (410).
    """
    try:
        document = orjson.loads(manifest.read_bytes())
    except FileNotFoundError:
        raise Gone from None
    return {layer["digest"] for layer in document["layers"]}
