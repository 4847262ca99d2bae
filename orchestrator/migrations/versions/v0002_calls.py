"""Functions that write and look up single rows.

A small commit costs more in planning its statements than in carrying them out. PostgreSQL keeps the plans of a
function's statements for each connection, also behind a pooler that mixes the connections of its clients, where
prepared statements of ours would be lost.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TYPES = {
    "event": (
        *("channel text", "position bigint", "id uuid", "asset_key text", "asset_kind integer"),
        *("event_kind integer", "moment timestamptz", "reason text", "payload bytea", "task uuid"),
        *("status integer", "slim boolean"),
    ),
    "compute_task": (
        *("key uuid", "channel text", "plan uuid", "function uuid", "owner text", "worker text"),
        *("status integer", "pending integer", "has_disabled boolean", "created timestamptz"),
        "document bytea",
    ),
    "task_parent": ("parent uuid", "child uuid"),
    "model": ("key uuid", "channel text", "task uuid", "document bytea"),
    "performance": (
        *("task uuid", "identifier text", "channel text", "created timestamptz", "document bytea"),
    ),
    "output_asset": (
        *("task uuid", "identifier text", "position integer", "kind integer", "asset_key text"),
    ),
    "storage_address": ("address text",),
}

MOVE = """
CREATE FUNCTION ledger_move_task(
    of_key uuid, to_status integer, to_pending integer, to_disabled boolean
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE compute_task SET status = to_status, pending = to_pending, has_disabled = to_disabled
     WHERE key = of_key;
END $$;
"""

IN_USE = """
CREATE FUNCTION ledger_models_in_use(keys uuid[]) RETURNS SETOF text LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY SELECT m.key::text FROM model m WHERE m.key = ANY(keys);
END $$;
CREATE FUNCTION ledger_tasks_in_use(keys uuid[]) RETURNS SETOF text LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY SELECT t.key::text FROM compute_task t WHERE t.key = ANY(keys);
END $$;
CREATE FUNCTION ledger_addresses_in_use(addresses text[]) RETURNS SETOF text LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY SELECT a.address FROM storage_address a WHERE a.address = ANY(addresses);
END $$;
"""


def upgrade() -> None:
    for table, columns in TYPES.items():
        op.execute(_adding(table, columns))
    op.execute(MOVE)
    op.execute(IN_USE)


def downgrade() -> None:
    for table in TYPES:
        op.execute(f"DROP FUNCTION ledger_add_{table}")
    op.execute("DROP FUNCTION ledger_move_task")
    for what in ("models", "tasks", "addresses"):
        op.execute(f"DROP FUNCTION ledger_{what}_in_use")


def _adding(table: str, columns: tuple[str, ...]) -> str:
    """A function of a row's columns, in their order, that inserts it."""
    names = ", ".join(column.split()[0] for column in columns)
    types = ", ".join(column.split()[1] for column in columns)
    values = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    return (
        f"CREATE FUNCTION ledger_add_{table}({types}) RETURNS void LANGUAGE plpgsql AS $$"  # noqa: S608
        f" BEGIN INSERT INTO {table} ({names}) VALUES ({values}); END $$"
    )
