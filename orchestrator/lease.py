"""Who writes a channel: a row with an epoch, so that a writer that lost it can never commit again (rule 7).

The fence itself is `ledger_fence` in the database, the first statement of every commit.
"""

from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import cursor as Cursor  # noqa: N812

LEASE_S = 3.0
"""After this long without a sign of its holder a channel may be taken over."""
RENEW_S = 0.75
RETRY_S = 0.25


@dataclass(slots=True)
class Lease:
    """The right to write `channel`, held by the process `holder` under `epoch`."""

    channel: str
    holder: str
    epoch: int = 0
    position: int = 0
    """Position of the channel's last committed event."""
    moment: datetime | None = None
    """Its date, when the lease was taken."""

    def acquire(self, cursor: Cursor) -> bool:
        """Take the channel if it is free, expired or ours already; earlier epochs cannot commit afterwards.

        Waits for a commit that is still under way under an earlier epoch, so `position` is final.
        """
        cursor.execute(
            "INSERT INTO channel_head (channel) VALUES (%s) ON CONFLICT DO NOTHING", (self.channel,)
        )
        cursor.execute(
            "UPDATE channel_head SET epoch = epoch + 1, holder = %s,"
            " expires = clock_timestamp() + make_interval(secs => %s)"
            " WHERE channel = %s AND (holder = %s OR expires < clock_timestamp())"
            " RETURNING epoch, position",
            (self.holder, LEASE_S, self.channel, self.holder),
        )
        row = cursor.fetchone()
        if row is None:
            return False
        self.epoch, self.position = row
        cursor.execute(
            "SELECT moment FROM event WHERE channel = %s AND position = %s",
            (self.channel, self.position),
        )
        last = cursor.fetchone()
        self.moment = last[0] if last else None
        return True

    def renew(self, cursor: Cursor, lease_s: float = LEASE_S) -> bool:
        """Extend; False when another process took over."""
        cursor.execute(
            "UPDATE channel_head SET expires = clock_timestamp() + make_interval(secs => %s)"
            " WHERE channel = %s AND epoch = %s",
            (lease_s, self.channel, self.epoch),
        )
        return cursor.rowcount == 1

    def release(self, cursor: Cursor) -> None:
        """Let the next process take over at once."""
        cursor.execute(
            "UPDATE channel_head SET expires = '-infinity', holder = '' WHERE channel = %s AND epoch = %s",
            (self.channel, self.epoch),
        )
