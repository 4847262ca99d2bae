"""What the ledger's events do to data samples: they come, and they are linked to data managers."""

from collections.abc import Sequence
from datetime import UTC

from sqlmodel import Session

from backend.assets.data_samples.tables import DataManagerSample, DataSample
from backend.kit.bulk import insert_rows
from protos.orchestrator import datasample_pb2, event_pb2


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
    insert_rows(session, DataSample, rows)
    pairs = [(sample.key, manager) for sample in ordered for manager in sample.data_manager_keys]
    link(session, channel, pairs)


def link(session: Session, channel: str, pairs: Sequence[tuple[str, str]]) -> None:
    """Add links (sample key, data manager key); those that exist stay."""
    links = [
        {"data_sample_key": sample, "data_manager_key": manager, "channel": channel}
        for sample, manager in sorted(set(pairs))
    ]
    insert_rows(session, DataManagerSample, links)
