"""What may be done with data managers: register, rename, read (rest-api.md 9)."""

from typing import Any
from uuid import UUID, uuid4

from backend.access.caller import Caller
from backend.assets.data_managers import events, store
from backend.assets.data_managers.schemas import NewDataManager, NewName
from backend.assets.downloads import MARKDOWN, Download, check_not_isolated, check_permitted
from backend.assets.ledger_registration import registered
from backend.assets.refusals import NO_FILE, NULL, required_file
from backend.assets.schemas import validated_upload
from backend.assets.uploads import Upload, UploadedFile
from backend.kit.clock import utc_now
from backend.kit.errors import NotFound
from backend.kit.keys import checked_key
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters
from backend.kit.validation import check_metadata
from backend.node import Node
from protos.orchestrator import common_pb2, datamanager_pb2

MODEL = "DataManager"


class DataManagerService:
    """`base` is the address under which the caller reached us: addresses in answers lie below it."""

    def __init__(self, node: Node, caller: Caller, base: str) -> None:
        self._node = node
        self._channel = caller.channel
        self._base = base

    # ------------------------------------------------------------------ writing
    def register(self, upload: Upload) -> dict[str, Any]:
        """Store opener and description, register the data manager in the ledger, and show it.

        Raises:
            UploadRefused: a file or a field is not acceptable (400); nothing is left behind.
            LedgerError: the ledger refused, or could not be asked.
        """
        opener = required_file(upload, "data_opener", missing=NO_FILE)
        description = required_file(upload, "description", missing={"description": [NULL]})
        new = validated_upload(NewDataManager, upload.json)
        check_metadata(new.metadata or {})
        key = uuid4()
        self._note_files(key, new.name, opener, description)
        try:
            opener.writer.commit(_stored_as(key, "opener"))
            description.writer.commit(_stored_as(key, "description"))
        except BaseException:
            self._forget(key)
            raise
        ledger = self._node.ledger.on(self._channel)
        message = self._message(key, new, opener, description)
        manager = registered(
            lambda: ledger.register_data_manager(message),
            lambda: ledger.data_manager(str(key)),
            lambda: self._forget(key),
        )
        with self._node.database.transaction() as session:
            events.register(session, self._channel, manager)
        return self.find(key)

    def _note_files(
        self, key: UUID, name: str, opener: UploadedFile, description: UploadedFile
    ) -> None:
        """The row comes before the files: what a crash leaves of them, the Janitor finds by it."""
        row = {
            "key": key,
            "channel": self._channel,
            "name": name,
            "opener_file": _stored_as(key, "opener"),
            "opener_name": opener.name or "opener.py",
            "opener_checksum": opener.checksum,
            "description_file": _stored_as(key, "description"),
            "description_name": description.name or "description.md",
            "description_checksum": description.checksum,
            "creation_date": utc_now(),
        }
        with self._node.database.transaction() as session:
            store.add_files(session, row)

    def _forget(self, key: UUID) -> None:
        for name in ("opener", "description"):
            self._node.storage.delete(_stored_as(key, name))
        with self._node.database.transaction() as session:
            store.forget_files(session, key)

    def _message(
        self, key: UUID, new: NewDataManager, opener: UploadedFile, description: UploadedFile
    ) -> datamanager_pb2.NewDataManager:
        address = self._node.settings.address
        return datamanager_pb2.NewDataManager(
            key=str(key),
            name=new.name,
            opener=common_pb2.Addressable(
                checksum=opener.checksum, storage_address=address(f"data_manager/{key}/opener/")
            ),
            description=common_pb2.Addressable(
                checksum=description.checksum,
                storage_address=address(f"data_manager/{key}/description/"),
            ),
            new_permissions=new.permissions.message(),
            logs_permission=new.logs_permission.message(),
            metadata=new.metadata or {},
        )

    def rename(self, key: UUID, new: NewName) -> dict[str, Any]:
        """Give a data manager another name; the answer shows it at once.

        Raises:
            NotFound: unknown in the caller's channel (404).
            LedgerError: not the caller's organization's data manager (403).
        """
        self.find(key)
        self._node.ledger.on(self._channel).update_data_manager(str(key), new.name)
        with self._node.database.transaction() as session:
            store.rename(session, self._channel, key, new.name)
        return self.find(key)

    # ------------------------------------------------------------------ reading
    def find(self, key: UUID) -> dict[str, Any]:
        """Raises NotFound: unknown in the caller's channel (404)."""
        with self._node.database.reading() as connection:
            found = store.find(connection, self._channel, key, self._base)
        if found is None:
            raise NotFound.of(MODEL)
        return found

    def page(self, parameters: Parameters) -> tuple[Page, list[dict[str, Any]]]:
        """One page of the channel's data managers."""
        request = PageRequest.of(parameters, maximum=self._node.settings.PAGINATION_MAX_PAGE_SIZE)
        with self._node.database.reading() as connection:
            page = store.page(connection, self._channel, parameters, request)
        return page, [store.whole(row, self._base) for row in page.rows]


def _stored_as(key: UUID, name: str) -> str:
    return f"datamanagers/{key}/{name}"


class DataManagerDownloads:
    """Decides on downloads of opener and description; both need the `process` permission."""

    def __init__(self, node: Node, caller: Caller) -> None:
        self._node = node
        self._caller = caller

    def opener(self, text: str) -> Download:
        """Raises what `backend.assets.downloads` says, in its order."""
        key, manager, files = self._permitted(text)
        return Download(
            owner=manager.owner,
            path=f"data_manager/{key}/opener/",
            name=files.opener_name if files else str(key),
            checksum=manager.opener_checksum,
            local=files.opener_file if files else None,
        )

    def description(self, text: str) -> Download:
        """As `opener`."""
        key, manager, files = self._permitted(text)
        return Download(
            owner=manager.owner,
            path=f"data_manager/{key}/description/",
            name=files.description_name if files else str(key),
            checksum=manager.description_checksum,
            local=files.description_file if files else None,
            media_type=MARKDOWN,
        )

    def _permitted(self, text: str) -> tuple[UUID, Any, Any | None]:
        check_not_isolated(self._node)
        key = checked_key(text)
        with self._node.database.reading() as connection:
            manager = store.permission(connection, self._caller.channel, key)
            if manager is None:
                raise NotFound.of(MODEL)
            check_permitted(
                self._caller, public=manager.public, authorized_ids=manager.authorized_ids
            )
            own = manager.owner == self._node.own
            return key, manager, store.files(connection, key) if own else None
