"""Sessions of pods serve one plan and one function image."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("runner_session", sa.Column("compute_plan_key", sa.Uuid(), nullable=True))
    op.add_column("runner_session", sa.Column("image_group", sa.String(length=40), nullable=True))
