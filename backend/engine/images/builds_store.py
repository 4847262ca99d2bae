"""All SQL of the builder loop."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from backend.engine.compute.outbox import OutboxStore
from backend.engine.compute.results import AcceptedLog

_SOURCE = text("""
    SELECT ff.archive_file, ff.archive_checksum
    FROM function f JOIN function_file ff ON ff.key = f.key WHERE f.key = :key
""")
_BUILT = text("""
    SELECT i.checksum FROM function_image i JOIN function_file f ON f.key = i.function_key
    WHERE f.archive_checksum = :checksum ORDER BY i.creation_date DESC
""")
_IMAGE = text("""
    INSERT INTO function_image (function_key, channel, checksum, creation_date)
    VALUES (:key, :channel, :checksum, now())
    ON CONFLICT (function_key) DO UPDATE SET checksum = excluded.checksum
""")


_SAVING = text("""
    SELECT extract(epoch FROM now() - creation_date)::float8 FROM function_image WHERE function_key = :key
""")


@dataclass(frozen=True, slots=True)
class Source:
    """What a build starts from. `built` are manifests that were built from the same archive before."""

    archive_file: str
    archive_checksum: str
    built: tuple[str, ...]


class BuildsStore:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._connection = session.connection()

    def source(self, function: UUID) -> Source | None:
        row = self._connection.execute(_SOURCE, {"key": function}).first()
        if row is None:
            return None
        built = self._connection.execute(_BUILT, {"checksum": row.archive_checksum}).scalars()
        return Source(row.archive_file, row.archive_checksum, tuple(built))

    def image(self, function: UUID, channel: str, digest: str) -> None:
        """The image's row, committed before the ledger hears of it (rule 3)."""
        values = {"key": function, "channel": channel, "checksum": digest}
        self._connection.execute(_IMAGE, values)

    def saving_s(self, function: UUID) -> float:
        """For how many seconds the built image has been waiting for the ledger to hear of it."""
        return float(self._connection.execute(_SAVING, {"key": function}).scalar() or 0.0)

    def log(self, function: UUID, channel: str, log: AcceptedLog) -> None:
        OutboxStore(self._session).log_file(function, channel, "FAILED_ASSET_FUNCTION", log)
