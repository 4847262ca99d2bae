"""Leases that are kept for tasks whose parents have no result yet."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from backend.engine.compute.next_function import OPEN_NEXT_TASKS_1

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "task_ahead",
        sa.Column("task_key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("compute_plan_key", sa.Uuid(), nullable=False),
        sa.Column("offer", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("task_key"),
    )
    op.create_index("task_ahead_plan", "task_ahead", ["compute_plan_key"])
    op.execute(OPEN_NEXT_TASKS_1)
