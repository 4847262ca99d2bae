"""The weighted round of channels and plans, and what tasks keep busy."""

import sqlalchemy as sa
from alembic import op

from backend.engine.compute.claim_function import CLAIM_TASK_1

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    clock = op.create_table(
        "work_clock",
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("weight", sa.Float(), server_default="1", nullable=False),
        sa.Column("finish", sa.Float(), server_default="0", nullable=False),
        sa.Column("clock", sa.Float(), server_default="0", nullable=False),
        sa.Column("claims", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("channel"),
    )
    op.bulk_insert(clock, [{"channel": ""}])
    op.execute("INSERT INTO work_clock (channel) SELECT DISTINCT channel FROM work_turn")
    for name in ("cpus", "gpus"):
        op.add_column("work", sa.Column(name, sa.Float(), server_default="0", nullable=False))
    op.add_column(
        "work", sa.Column("memory_bytes", sa.BigInteger(), server_default="0", nullable=False)
    )
    op.create_index(
        "work_unprepared",
        "work",
        ["compute_plan_key", "not_before", "id"],
        postgresql_where=sa.text("kind = 'task' AND state = 'new'"),
    )
    op.add_column("work_turn", sa.Column("weight", sa.Float(), server_default="1", nullable=False))
    op.add_column("work_turn", sa.Column("finish", sa.Float(), server_default="0", nullable=False))
    op.add_column(
        "work_turn", sa.Column("weighed", sa.Boolean(), server_default="false", nullable=False)
    )
    op.execute(CLAIM_TASK_1)
