"""What must not be there when every plan is over: open work, unreported results, claims, running functions."""

import time
from collections.abc import Iterator

import psycopg2

from backend.settings import Settings
from network.layout import Layout
from tests.chaos.kills import functions

WITHIN_S = 90.0
"""Three passes of the janitor; cancels and clean-ups are done in the background."""
LOOK_S = 1.0
OPEN = {
    "open work": "SELECT kind || ' ' || key FROM work WHERE state <> 'done'",
    "unreported results": "SELECT task_key::text FROM outbox",
    "outputs put out twice": (
        "SELECT task_key::text FROM compute_task_output_asset"
        " GROUP BY task_key, identifier HAVING count(*) > 1"
    ),
    "unfinished builds": (
        "SELECT key::text FROM function WHERE owner = %(me)s"
        " AND status IN ('FUNCTION_STATUS_WAITING', 'FUNCTION_STATUS_BUILDING')"
    ),
}


def leftovers(layout: Layout, organizations: list[str]) -> list[str]:
    """One line for each kind of thing that is still there after a while; [] when all is tidy."""
    deadline = time.monotonic() + WITHIN_S
    while (found := list(_left(layout, organizations))) and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    return found


def _left(layout: Layout, organizations: list[str]) -> Iterator[str]:
    for name in organizations:
        settings = Settings.read(layout.settings_file(name))
        connection = psycopg2.connect(settings.DATABASE_URL)
        try:
            with connection, connection.cursor() as cursor:
                for what, query in OPEN.items():
                    cursor.execute(query, {"me": settings.MSP_ID})
                    rows = [row[0] for row in cursor.fetchall()]
                    if rows:
                        yield f"{name}: {len(rows)} {what}, {', '.join(rows[:3])}"
        finally:
            connection.close()
    running = functions(layout)
    if running:
        yield f"{len(running)} processes of functions"
