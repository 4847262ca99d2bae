"""What may be done with functions: register, rename, read (rest-api.md 8)."""

from typing import Any
from uuid import UUID, uuid4

from backend.access.caller import Caller
from backend.assets.archives import ArchiveRefused, NotAnArchive, check
from backend.assets.functions import events, store
from backend.assets.functions.schemas import NewFunction, NewName
from backend.assets.ledger_registration import registered
from backend.assets.refusals import NO_FILE, NULL, UploadRefused, required_file
from backend.assets.schemas import validated_upload
from backend.assets.uploads import Upload, UploadedFile
from backend.kit.clock import utc_now
from backend.kit.errors import NoBuilder, NotFound
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters
from backend.kit.validation import check_metadata
from backend.node import Node
from protos.orchestrator import common_pb2, function_pb2

MODEL = "Function"
NO_DOCKERFILE = "Ensure your archive contains a Dockerfile."
NO_PYTHON_FILE = "Ensure your archive contains at least one python file."


class FunctionService:
    """`base` is the address under which the caller reached us: addresses in answers lie below it."""

    def __init__(self, node: Node, caller: Caller, base: str) -> None:
        self._node = node
        self._channel = caller.channel
        self._base = base

    # ------------------------------------------------------------------ writing
    def check_builder(self) -> None:
        """Raises NoBuilder: this organization builds nothing (422). Asked before the upload is read."""
        if not self._node.settings.BUILDER_ENABLED:
            raise NoBuilder

    def register(self, upload: Upload) -> dict[str, Any]:
        """Store a function's files, register it in the ledger, and show it.

        Raises:
            UploadRefused: a file or a field is not acceptable (400); nothing is left behind.
            LedgerError: the ledger refused, or could not be asked.
        """
        archive = required_file(upload, "file", missing=NO_FILE)
        description = required_file(upload, "description", missing={"description": [NULL]})
        new = validated_upload(NewFunction, upload.json)
        check_metadata(new.metadata or {})
        _check_archive(archive)
        key = uuid4()
        self._note_files(key, archive, description)
        try:
            archive.writer.commit(_stored_as(key, "archive"))
            description.writer.commit(_stored_as(key, "description"))
        except BaseException:
            self._forget(key)
            raise
        ledger = self._node.ledger.on(self._channel)
        message = self._message(key, new, archive, description)
        function = registered(
            lambda: ledger.register_function(message),
            lambda: ledger.function(str(key)),
            lambda: self._forget(key),
        )
        with self._node.database.transaction() as session:
            events.register(session, self._channel, function)
        return self.find(key)

    def _note_files(self, key: UUID, archive: UploadedFile, description: UploadedFile) -> None:
        """The row comes before the files: what a crash leaves of them, the Janitor finds by it."""
        row = {
            "key": key,
            "channel": self._channel,
            "archive_file": _stored_as(key, "archive"),
            "archive_name": archive.name or "function",
            "archive_checksum": archive.checksum,
            "description_file": _stored_as(key, "description"),
            "description_name": description.name or "description.md",
            "description_checksum": description.checksum,
            "creation_date": utc_now(),
        }
        with self._node.database.transaction() as session:
            store.add_files(session, row)

    def _forget(self, key: UUID) -> None:
        for name in ("archive", "description"):
            self._node.storage.delete(_stored_as(key, name))
        with self._node.database.transaction() as session:
            store.forget_files(session, key)

    def _message(
        self, key: UUID, new: NewFunction, archive: UploadedFile, description: UploadedFile
    ) -> function_pb2.NewFunction:
        address = self._node.settings.address
        return function_pb2.NewFunction(
            key=str(key),
            name=new.name,
            description=common_pb2.Addressable(
                checksum=description.checksum,
                storage_address=address(f"function/{key}/description/"),
            ),
            archive=common_pb2.Addressable(
                checksum=archive.checksum, storage_address=address(f"function/{key}/file/")
            ),
            new_permissions=new.permissions.message(),
            metadata=new.metadata or {},
            inputs={
                identifier: function_pb2.FunctionInput(
                    kind=common_pb2.AssetKind.Value(declared.kind),
                    multiple=declared.multiple,
                    optional=declared.optional,
                )
                for identifier, declared in new.inputs.items()
            },
            outputs={
                identifier: function_pb2.FunctionOutput(
                    kind=common_pb2.AssetKind.Value(declared.kind), multiple=declared.multiple
                )
                for identifier, declared in new.outputs.items()
            },
        )

    def rename(self, key: UUID, new: NewName) -> dict[str, Any]:
        """Give a function another name; the answer shows it at once.

        Raises:
            NotFound: unknown in the caller's channel (404).
            LedgerError: not the caller's organization's function (403).
        """
        self.find(key)
        request = function_pb2.UpdateFunctionParam(key=str(key), name=new.name)
        self._node.ledger.on(self._channel).update_function(request)
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

    def page(
        self, parameters: Parameters, plan: UUID | None = None
    ) -> tuple[Page, list[dict[str, Any]]]:
        """One page of the channel's functions, or of those that a plan uses."""
        request = PageRequest.of(parameters, maximum=self._node.settings.PAGINATION_MAX_PAGE_SIZE)
        with self._node.database.reading() as connection:
            page = store.page(connection, self._channel, parameters, request, plan)
        return page, [store.wire(row, self._base) for row in page.rows]


def _stored_as(key: UUID, name: str) -> str:
    return f"functions/{key}/{name}"


def _check_archive(archive: UploadedFile) -> None:
    try:
        content = check(archive.writer.path)
    except NotAnArchive:
        raise UploadRefused({"file": ["Cannot handle this file object."]}) from None
    except ArchiveRefused as error:
        raise UploadRefused(str(error)) from None
    if "Dockerfile" not in content.raw_names_at_root:
        raise UploadRefused(NO_DOCKERFILE)
    if content.entries < 2:
        raise UploadRefused(NO_PYTHON_FILE)
