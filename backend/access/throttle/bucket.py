"""A sliding minute per client and bucket, in PostgreSQL: all processes count together (rest-api.md 1.6)."""

import hashlib
import math
import time
from dataclasses import dataclass

from sqlalchemy import text

from backend.kit.database import Database
from backend.kit.errors import Throttled

WINDOW_S = 60.0

# A full bucket is left as it is, so that the moments say when the oldest request leaves the window.
_TAKE = text(
    """
    INSERT INTO throttle_bucket AS b (bucket, client, moments)
    VALUES (:bucket, :client, ARRAY[CAST(:now AS float8)])
    ON CONFLICT (bucket, client) DO UPDATE SET moments = CASE
        WHEN cardinality(ARRAY(SELECT m FROM unnest(b.moments) m WHERE m > :since)) < :rate
        THEN ARRAY(SELECT m FROM unnest(b.moments) m WHERE m > :since) || CAST(:now AS float8)
        ELSE ARRAY(SELECT m FROM unnest(b.moments) m WHERE m > :since)
    END
    RETURNING moments
    """
)
_GIVE_BACK = text(
    """
    UPDATE throttle_bucket SET moments = array_remove(moments, CAST(:now AS float8))
    WHERE bucket = :bucket AND client = :client
    """
)
_PRUNE = text(
    "DELETE FROM throttle_bucket WHERE moments = '{}' OR moments[cardinality(moments)] < :since"
)


@dataclass(frozen=True, slots=True)
class Taken:
    """One counted request. `give_back` uncounts it: what turned out right need not be limited."""

    database: Database
    bucket: str
    client: str
    moment: float

    def give_back(self) -> None:
        values = {"bucket": self.bucket, "client": self.client, "now": self.moment}
        with self.database.transaction(durable=False) as session:
            session.connection().execute(_GIVE_BACK, values)


def take(database: Database, bucket: str, client: str, rate: int) -> Taken:
    """Count one request of `client` (an address or a name; kept as a digest), at most `rate` a minute.

    Raises:
        Throttled: 429, with the seconds until the next one is let in.
    """
    now = time.time()
    digest = hashlib.sha256(client.encode(errors="surrogatepass")).hexdigest()
    values = {
        "bucket": bucket,
        "client": digest,
        "now": now,
        "since": now - WINDOW_S,
        "rate": rate,
    }
    with database.transaction(durable=False) as session:
        moments: list[float] = session.connection().execute(_TAKE, values).scalar_one()
    if now not in moments or rate <= 0:
        oldest = min(moments, default=now)
        raise Throttled(max(1, math.ceil(oldest + WINDOW_S - now)))
    return Taken(database, bucket, digest, now)


def prune(database: Database) -> None:
    """Forget clients that have not asked for two minutes."""
    with database.transaction(durable=False) as session:
        session.connection().execute(_PRUNE, {"since": time.time() - 2 * WINDOW_S})
