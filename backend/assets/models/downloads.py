"""The files of models: who may have them, and where they lie (rest-api.md 18)."""

from uuid import UUID

from backend.access.caller import Caller
from backend.assets.downloads import Download, check_not_isolated
from backend.assets.models import store
from backend.assets.models.access import Granted, check_download
from backend.kit.errors import Gone, NotFound
from backend.kit.keys import checked_key
from backend.node import Node


class ModelDownloads:
    def __init__(self, node: Node, caller: Caller) -> None:
        self._node = node
        self._caller = caller

    def model(self, text: str) -> Download:
        """Raises what `backend.assets.downloads` says, in its order."""
        check_not_isolated(self._node)
        key = checked_key(text)
        with self._node.database.reading() as connection:
            row = store.find(connection, self._caller.channel, key)
        if row is None:
            raise NotFound.of("Model")
        channel = self._node.settings.CHANNELS.get(self._caller.channel)
        check_download(
            self._caller,
            self._node.own,
            process=Granted(
                row.permissions_process_public, tuple(row.permissions_process_authorized_ids)
            ),
            download=Granted(
                row.permissions_download_public, tuple(row.permissions_download_authorized_ids)
            ),
            export_enabled=channel is not None and channel.model_export_enabled,
        )
        if row.model_address is None:
            raise Gone
        return Download(
            owner=row.owner,
            path=f"model/{key}/file/",
            name=str(key),
            checksum=row.model_checksum,
            compressible=True,
            local=self._own_file(key) if row.owner == self._node.own else None,
        )

    def _own_file(self, key: UUID) -> str | None:
        with self._node.database.reading() as connection:
            return store.file_of(connection, key)
