"""What may be done with data samples: register by upload or by path, link, read (rest-api.md 10)."""

from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from backend.access.caller import Caller
from backend.assets.archives import ArchiveRefused, NotAnArchive, check, folder_hash
from backend.assets.data_managers import store as data_managers
from backend.assets.data_samples import events, store
from backend.assets.data_samples.folders import named_folders, pack
from backend.assets.data_samples.schemas import NewLinks
from backend.assets.ledger_registration import registered
from backend.assets.refusals import TOO_LARGE, SampleRefused
from backend.assets.uploads import Upload, UploadedFile
from backend.kit.clock import utc_now
from backend.kit.errors import BadRequest, NotFound
from backend.kit.pages import Page, PageRequest
from backend.kit.parameters import Parameters
from backend.node import Node
from backend.ports.storage import Writer
from protos.orchestrator import datasample_pb2

MODEL = "DataSample"
NO_KEYS = "missing or empty field 'data_manager_keys'"
NO_FILE = "Ensure your archive contains at least one file."
NOT_ARCHIVE = "Archive must be zip or tar"


@dataclass(frozen=True, slots=True)
class _Sample:
    """A checked sample, not yet in the ledger: an archive to be committed, or a folder that stays in place."""

    key: UUID
    checksum: str
    archive: Writer | None = None
    path: str | None = None

    @property
    def file(self) -> str | None:
        return f"datasamples/{self.key}" if self.archive is not None else None


class DataSampleService:
    def __init__(self, node: Node, caller: Caller) -> None:
        self._node = node
        self._channel = caller.channel

    # ------------------------------------------------------------------ writing
    def register(self, upload: Upload) -> list[dict[str, Any]]:
        """Store the samples of an upload (its files, or the folders that it names) and register them.

        All or none; the answer has the order of the request.

        Raises:
            BadRequest, SampleRefused: 400; nothing is left behind.
            LedgerError: the ledger refused, or could not be asked.
        """
        if upload.too_large:
            error = f"{{'file': [ErrorDetail(string='{TOO_LARGE}', code='invalid')]}}"
            raise BadRequest(error)
        managers = self._manager_keys(upload.json.get("data_manager_keys"))
        samples: list[_Sample] = []
        try:
            if upload.files:
                samples.extend(map(_from_archive, upload.files.values()))
            else:
                volume = self._node.settings.SERVERMEDIAS_ROOT
                samples.extend(map(self._from_folder, named_folders(upload.json, volume)))
            if not samples:
                raise BadRequest("Neither a file nor a path was given")
            self._note_files(samples)
            self._commit(samples)
        finally:
            for sample in samples:
                if sample.archive is not None:
                    sample.archive.discard()  # of committed ones nothing
        return self._register(samples, managers)

    def _register(self, samples: list[_Sample], managers: list[UUID]) -> list[dict[str, Any]]:
        ledger = self._node.ledger.on(self._channel)
        manager_keys = [str(manager) for manager in managers]
        messages = [
            datasample_pb2.NewDataSample(
                key=str(sample.key), data_manager_keys=manager_keys, checksum=sample.checksum
            )
            for sample in samples
        ]
        stored = registered(
            lambda: list(ledger.register_data_samples(messages)),
            lambda: [ledger.data_sample(message.key) for message in messages],
            lambda: self._forget(samples),
        )
        with self._node.database.transaction() as session:
            events.register(session, self._channel, stored)
        by_key = {sample.key: sample for sample in stored}
        return [_wire(sample, by_key[str(sample.key)]) for sample in samples]

    def _manager_keys(self, given: Any) -> list[UUID]:
        """The data managers to link to, all of them our own.

        Raises:
            BadRequest: none given, or one that has no files here (400).
        """
        if isinstance(given, str):
            given = [given]
        if not given or not isinstance(given, list):
            raise BadRequest(NO_KEYS)
        unknown: list[Any] = []
        keys: list[UUID] = []
        for text in given:
            try:
                keys.append(UUID(text))
            except (ValueError, TypeError, AttributeError):
                unknown.append(text)
        keys = list(dict.fromkeys(keys))
        if not unknown:
            with self._node.database.reading() as connection:
                unknown += data_managers.unknown_here(connection, self._channel, keys)
        if unknown:
            raise BadRequest(
                "One or more datamanager keys provided do not exist in local database. "
                f"Please create them before. DataManager keys: {[str(key) for key in given]}"
            )
        return keys

    def _from_folder(self, folder: Path) -> _Sample:
        if self._node.settings.ENABLE_DATASAMPLE_STORAGE_IN_SERVERMEDIAS:
            return _Sample(uuid4(), folder_hash(folder), path=str(folder))
        writer = self._node.storage.writer()
        try:
            pack(folder, writer)
            writer.close()
            return _checked(writer)
        except BaseException:
            writer.discard()
            raise

    def _commit(self, samples: list[_Sample]) -> None:
        try:
            for sample in samples:
                if sample.archive is not None and sample.file is not None:
                    sample.archive.commit(sample.file)
        except BaseException:
            self._forget(samples)
            raise

    def _note_files(self, samples: list[_Sample]) -> None:
        """The rows come before the files: what a crash leaves of them, the Janitor finds by them."""
        rows = [
            {
                "key": sample.key,
                "channel": self._channel,
                "file": sample.file,
                "path": sample.path,
                "checksum": sample.checksum,
                "creation_date": utc_now(),
            }
            for sample in samples
        ]
        with self._node.database.transaction() as session:
            store.add_files(session, rows)

    def _forget(self, samples: list[_Sample]) -> None:
        for sample in samples:
            if sample.file is not None:
                self._node.storage.delete(sample.file)
        with self._node.database.transaction() as session:
            store.forget_files(session, [sample.key for sample in samples])

    def link(self, links: NewLinks) -> None:
        """Add every sample to every data manager, in the ledger and at once in our rows.

        Raises:
            LedgerError: an unknown key (404), or an asset of another organization (403).
        """
        samples = [str(key) for key in links.data_sample_keys]
        managers = [str(key) for key in links.data_manager_keys]
        self._node.ledger.on(self._channel).update_data_samples(samples, managers)
        pairs = [(sample, manager) for sample in samples for manager in managers]
        with self._node.database.transaction() as session:
            events.link(session, self._channel, pairs)

    # ------------------------------------------------------------------ reading
    def find(self, key: UUID) -> dict[str, Any]:
        """Raises NotFound: unknown in the caller's channel (404)."""
        with self._node.database.reading() as connection:
            found = store.find(connection, self._channel, key)
        if found is None:
            raise NotFound.of(MODEL)
        return found

    def page(self, parameters: Parameters) -> tuple[Page, list[dict[str, Any]]]:
        """One page of the channel's data samples."""
        request = PageRequest.of(parameters, maximum=self._node.settings.PAGINATION_MAX_PAGE_SIZE)
        with self._node.database.reading() as connection:
            page = store.page(connection, self._channel, parameters, request)
        return page, [store.wire(row) for row in page.rows]


def _from_archive(file: UploadedFile) -> _Sample:
    return _checked(file.writer)


def _checked(archive: Writer) -> _Sample:
    """Raises SampleRefused: no archive, or one that is not acceptable (400)."""
    try:
        content = check(archive.path)
    except NotAnArchive:
        raise SampleRefused(NOT_ARCHIVE) from None
    except ArchiveRefused as error:
        raise SampleRefused(str(error)) from None
    if content.files == 0:
        raise SampleRefused(NO_FILE)
    return _Sample(uuid4(), content.folder_hash, archive)


def _wire(sample: _Sample, stored: datasample_pb2.DataSample) -> dict[str, Any]:
    return {
        "key": sample.key,
        "path": sample.path,
        "checksum": sample.checksum,
        "creation_date": stored.creation_date.ToDatetime(UTC),
        "data_manager_keys": list(stored.data_manager_keys),
        "owner": stored.owner,
    }
