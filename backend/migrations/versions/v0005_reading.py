"""What lists of any size need to be read by an index alone."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

BACKFILL = """
UPDATE data_manager_data_sample l SET sample_creation_date = s.creation_date
  FROM data_sample s WHERE s.key = l.data_sample_key
"""


def upgrade() -> None:
    links = "data_manager_data_sample"
    date = sa.Column("sample_creation_date", sa.DateTime(timezone=True), nullable=True)
    op.add_column(links, date)
    op.execute(BACKFILL)
    op.drop_index("data_manager_data_sample_manager", table_name=links)
    op.create_index(
        "data_manager_data_sample_list",
        links,
        ["data_manager_key", "sample_creation_date", "data_sample_key"],
    )
    op.create_index("data_sample_channel", "data_sample", ["channel"])
    op.drop_index("ix_task_profiling_channel", table_name="task_profiling")
    op.create_index(
        "task_profiling_list", "task_profiling", ["channel", "creation_date", "compute_task_key"]
    )
