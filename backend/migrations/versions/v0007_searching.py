"""Indexes for every order and every filter of tasks and samples."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

ORDERS = {
    "compute_task_status": "status",
    "compute_task_rank": "rank",
    "compute_task_tag": "tag",
    "compute_task_start": "start_date",
    "compute_task_end": "end_date",
}
SHOWN = [
    *("worker", "tag", "rank", "status", "function_key", "compute_plan_key"),
    *("creation_date", "start_date", "end_date"),
]
BACKFILL = """
INSERT INTO compute_task_metadata (task_key, name, channel, value)
SELECT t.key, left(e.key, 100), t.channel, left(e.value, 100)
  FROM compute_task t CROSS JOIN jsonb_each_text(t.metadata) e ON CONFLICT DO NOTHING
"""


def upgrade() -> None:
    tasks = "compute_task"
    op.drop_index("compute_task_status", table_name=tasks)
    for name, column in ORDERS.items():
        op.create_index(name, tasks, ["channel", column, "key"])
    op.create_index(
        "compute_task_search", tasks, ["channel", "owner", "key"], postgresql_include=SHOWN
    )
    op.create_table(
        "compute_task_metadata",
        sa.Column("task_key", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("value", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("task_key", "name"),
    )
    op.execute(BACKFILL)
    op.create_index(
        "compute_task_metadata_search",
        "compute_task_metadata",
        ["channel", "name", "value", "task_key"],
    )
    op.create_index(
        "data_sample_owner",
        "data_sample",
        ["channel", "owner", "key"],
        postgresql_include=["creation_date"],
    )
