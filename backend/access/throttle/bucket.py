"""A sliding minute per client and bucket, in PostgreSQL: all processes count together (rest-api.md 1.6)."""

import hashlib
import math
import time

from fastapi import Depends, Request
from sqlalchemy import text

from backend.access.caller import OptionalAccount, SessionNode
from backend.kit.addresses import client_address
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
_PRUNE = text("DELETE FROM throttle_bucket WHERE moments[cardinality(moments)] < :since")


def take(database: Database, bucket: str, client: str, rate: int) -> None:
    """Count one request of `client`, at most `rate` a minute.

    Raises:
        Throttled: 429, with the seconds until the next one is let in.
    """
    now = time.time()
    values = {
        "bucket": bucket,
        "client": hashlib.sha256(client.encode()).hexdigest(),
        "now": now,
        "since": now - WINDOW_S,
        "rate": rate,
    }
    with database.transaction(durable=False) as session:
        moments: list[float] = session.connection().execute(_TAKE, values).scalar_one()
    if now not in moments or rate <= 0:
        oldest = min(moments, default=now)
        raise Throttled(max(1, math.ceil(oldest + WINDOW_S - now)))


def prune(database: Database) -> None:
    """Forget clients that have not asked for two minutes."""
    with database.transaction(durable=False) as session:
        session.connection().execute(_PRUNE, {"since": time.time() - 2 * WINDOW_S})


def throttle_strangers(request: Request, node: SessionNode, account: OptionalAccount) -> None:
    """Dependency of routes open to all: only callers without credentials are counted."""
    if account is None:
        take(node.database, "anon", client_address(request), node.settings.DEFAULT_THROTTLE_RATES)


def throttle_log_ins(request: Request, node: SessionNode) -> None:
    """Dependency of routes that check a password, whatever other credentials were sent along."""
    client, rate = client_address(request), node.settings.DEFAULT_THROTTLE_RATES
    take(node.database, "login", client, rate)
    prune(node.database)


StrangersThrottled = Depends(throttle_strangers)
LogInsThrottled = Depends(throttle_log_ins)
