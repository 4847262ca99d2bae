"""What the ledger's events do to data samples: they come, and they are linked to data managers."""

from collections.abc import Sequence
from datetime import UTC

from sqlalchemy import text
from sqlmodel import Session

from backend.assets.data_samples.tables import DataManagerSample, DataSample
from backend.kit.bulk import insert_rows
from protos.orchestrator import datasample_pb2, event_pb2

_DATES = text(
    "SELECT CAST(key AS text) AS key, creation_date FROM data_sample WHERE key = ANY(CAST(:keys AS uuid[]))"
)
_DATE_EARLIER_LINKS = text(
    """
    UPDATE data_manager_data_sample l SET sample_creation_date = s.creation_date
      FROM data_sample s
     WHERE l.data_sample_key = ANY(:keys) AND s.key = l.data_sample_key
       AND l.sample_creation_date IS NULL
    """
)


def apply(session: Session, channel: str, events: Sequence[event_pb2.Event]) -> None:
    """DATA_SAMPLE events. Links are only ever added (orchestrator.md 6.3), so both kinds do the same."""
    register(session, channel, [event.data_sample for event in events])


def register(session: Session, channel: str, samples: Sequence[datasample_pb2.DataSample]) -> None:
    """Insert samples and links that are not known yet."""
    ordered = sorted(samples, key=lambda sample: sample.key)
    rows = [
        {
            "key": sample.key,
            "channel": channel,
            "owner": sample.owner,
            "creation_date": sample.creation_date.ToDatetime(UTC),
        }
        for sample in ordered
    ]
    new = insert_rows(session, DataSample, rows)
    if new:
        session.connection().execute(_DATE_EARLIER_LINKS, {"keys": new})
    pairs = [(sample.key, manager) for sample in ordered for manager in sample.data_manager_keys]
    link(session, channel, pairs)


def link(session: Session, channel: str, pairs: Sequence[tuple[str, str]]) -> None:
    """Add links (sample key, data manager key); those that exist stay."""
    if not pairs:
        return
    keys = sorted({sample for sample, _ in pairs})
    rows = session.connection().execute(_DATES, {"keys": keys})
    dates = {row.key: row.creation_date for row in rows}
    links = [
        {
            "data_sample_key": sample,
            "data_manager_key": manager,
            "channel": channel,
            "sample_creation_date": dates.get(sample),
        }
        for sample, manager in sorted(set(pairs))
    ]
    insert_rows(session, DataManagerSample, links)
