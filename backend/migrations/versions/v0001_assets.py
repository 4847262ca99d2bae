"""What is registered: functions, data, plans, tasks and their results."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "compute_plan",
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("tag", sa.String(length=100), nullable=False),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("creation_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cancelation_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("start_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_task_end_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_task_key", sa.Uuid(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("waiting_builder_slot_count", sa.Integer(), nullable=False),
        sa.Column("building_count", sa.Integer(), nullable=False),
        sa.Column("waiting_parent_tasks_count", sa.Integer(), nullable=False),
        sa.Column("waiting_executor_slot_count", sa.Integer(), nullable=False),
        sa.Column("executing_count", sa.Integer(), nullable=False),
        sa.Column("done_count", sa.Integer(), nullable=False),
        sa.Column("canceled_count", sa.Integer(), nullable=False),
        sa.Column("failed_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index(
        "compute_plan_list", "compute_plan", ["channel", "creation_date", "key"], unique=False
    )
    op.create_index("compute_plan_status", "compute_plan", ["channel", "status"], unique=False)
    op.create_table(
        "compute_plan_creator",
        sa.Column("compute_plan_key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("compute_plan_key"),
    )
    op.create_index(
        op.f("ix_compute_plan_creator_user_id"), "compute_plan_creator", ["user_id"], unique=False
    )
    op.create_table(
        "compute_task",
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("function_key", sa.Uuid(), nullable=False),
        sa.Column("compute_plan_key", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("worker", sa.String(length=100), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("creation_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("start_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_type", sa.String(length=64), nullable=True),
        sa.Column("tag", sa.String(length=100), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("logs_permission_public", sa.Boolean(), nullable=False),
        sa.Column("logs_permission_authorized_ids", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("logs_address", sa.String(length=200), nullable=True),
        sa.Column("logs_checksum", sa.String(length=64), nullable=True),
        sa.Column("logs_owner", sa.String(length=100), nullable=True),
        sa.Column("inputs", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("outputs", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("compute_task_function", "compute_task", ["function_key"], unique=False)
    op.create_index(
        "compute_task_list", "compute_task", ["channel", "creation_date", "key"], unique=False
    )
    op.create_index(
        "compute_task_plan_function",
        "compute_task",
        ["compute_plan_key", "function_key"],
        unique=False,
    )
    op.create_index(
        "compute_task_plan_list",
        "compute_task",
        ["compute_plan_key", "creation_date", "key"],
        unique=False,
    )
    op.create_index(
        "compute_task_plan_rank", "compute_task", ["compute_plan_key", "rank"], unique=False
    )
    op.create_index(
        "compute_task_plan_status", "compute_task", ["compute_plan_key", "status"], unique=False
    )
    op.create_index("compute_task_status", "compute_task", ["channel", "status"], unique=False)
    op.create_table(
        "compute_task_input",
        sa.Column("task_key", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("identifier", sa.String(length=100), nullable=False),
        sa.Column("asset_key", sa.Uuid(), nullable=True),
        sa.Column("parent_task_key", sa.Uuid(), nullable=True),
        sa.Column(
            "parent_task_output_identifier",
            sa.String(length=100),
            nullable=True,
        ),
        sa.PrimaryKeyConstraint("task_key", "position"),
    )
    op.create_index(
        "compute_task_input_asset_key",
        "compute_task_input",
        ["asset_key"],
        unique=False,
        postgresql_where=sa.text("asset_key IS NOT NULL"),
    )
    op.create_index(
        "compute_task_input_parent",
        "compute_task_input",
        ["parent_task_key", "parent_task_output_identifier"],
        unique=False,
        postgresql_where=sa.text("parent_task_key IS NOT NULL"),
    )
    op.create_table(
        "compute_task_output_asset",
        sa.Column("task_key", sa.Uuid(), nullable=False),
        sa.Column("identifier", sa.String(length=100), nullable=False),
        sa.Column("asset_key", sa.String(length=150), nullable=False),
        sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("asset_kind", sa.String(length=64), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("task_key", "identifier", "asset_key"),
        sa.UniqueConstraint("asset_key", name="compute_task_output_asset_asset"),
    )
    op.create_table(
        "data_manager",
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("creation_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("description_address", sa.String(), nullable=False),
        sa.Column("description_checksum", sa.String(length=64), nullable=False),
        sa.Column("opener_address", sa.String(), nullable=False),
        sa.Column("opener_checksum", sa.String(length=64), nullable=False),
        sa.Column("permissions_download_public", sa.Boolean(), nullable=False),
        sa.Column(
            "permissions_download_authorized_ids", postgresql.ARRAY(sa.Text()), nullable=False
        ),
        sa.Column("permissions_process_public", sa.Boolean(), nullable=False),
        sa.Column(
            "permissions_process_authorized_ids", postgresql.ARRAY(sa.Text()), nullable=False
        ),
        sa.Column("logs_permission_public", sa.Boolean(), nullable=False),
        sa.Column("logs_permission_authorized_ids", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index(
        "data_manager_page", "data_manager", ["channel", "creation_date", "key"], unique=False
    )
    op.create_table(
        "data_manager_file",
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("opener_file", sa.String(), nullable=False),
        sa.Column("opener_name", sa.String(length=255), nullable=False),
        sa.Column("opener_checksum", sa.String(length=64), nullable=False),
        sa.Column("description_file", sa.String(), nullable=False),
        sa.Column("description_name", sa.String(length=255), nullable=False),
        sa.Column("description_checksum", sa.String(length=64), nullable=False),
        sa.Column("creation_date", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "data_sample",
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("creation_date", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index(
        "data_sample_page", "data_sample", ["channel", "creation_date", "key"], unique=False
    )
    op.create_table(
        "data_sample_file",
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("file", sa.String(), nullable=True),
        sa.Column("path", sa.String(), nullable=True),
        sa.Column("checksum", sa.String(length=64), nullable=False),
        sa.Column("creation_date", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "failure_report",
        sa.Column("asset_key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("asset_type", sa.String(length=64), nullable=False),
        sa.Column("error_type", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("creation_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("logs_address", sa.String(length=200), nullable=True),
        sa.Column("logs_checksum", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("asset_key"),
    )
    op.create_table(
        "function",
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("creation_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("description_address", sa.String(), nullable=False),
        sa.Column("description_checksum", sa.String(length=64), nullable=False),
        sa.Column("archive_address", sa.String(), nullable=False),
        sa.Column("archive_checksum", sa.String(length=64), nullable=False),
        sa.Column("image_address", sa.String(), nullable=True),
        sa.Column("image_checksum", sa.String(length=64), nullable=True),
        sa.Column("permissions_download_public", sa.Boolean(), nullable=False),
        sa.Column(
            "permissions_download_authorized_ids", postgresql.ARRAY(sa.Text()), nullable=False
        ),
        sa.Column("permissions_process_public", sa.Boolean(), nullable=False),
        sa.Column(
            "permissions_process_authorized_ids", postgresql.ARRAY(sa.Text()), nullable=False
        ),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("function_page", "function", ["channel", "creation_date", "key"], unique=False)
    op.create_table(
        "function_file",
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("archive_file", sa.String(), nullable=False),
        sa.Column("archive_name", sa.String(length=255), nullable=False),
        sa.Column("archive_checksum", sa.String(length=64), nullable=False),
        sa.Column("description_file", sa.String(), nullable=False),
        sa.Column("description_name", sa.String(length=255), nullable=False),
        sa.Column("description_checksum", sa.String(length=64), nullable=False),
        sa.Column("creation_date", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "function_image",
        sa.Column("function_key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("checksum", sa.String(length=64), nullable=False),
        sa.Column("creation_date", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("function_key"),
    )
    op.create_table(
        "log_file",
        sa.Column("asset_key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("asset_type", sa.String(length=64), nullable=False),
        sa.Column("bucket", sa.String(length=100), nullable=False),
        sa.Column("file", sa.String(length=500), nullable=False),
        sa.Column("checksum", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("creation_date", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("asset_key"),
    )
    op.create_table(
        "model",
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("compute_task_key", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.String(length=100), nullable=False),
        sa.Column("creation_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("model_address", sa.String(length=200), nullable=True),
        sa.Column("model_checksum", sa.String(length=64), nullable=True),
        sa.Column("permissions_process_public", sa.Boolean(), nullable=False),
        sa.Column(
            "permissions_process_authorized_ids", postgresql.ARRAY(sa.Text()), nullable=False
        ),
        sa.Column("permissions_download_public", sa.Boolean(), nullable=False),
        sa.Column(
            "permissions_download_authorized_ids", postgresql.ARRAY(sa.Text()), nullable=False
        ),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index(op.f("ix_model_compute_task_key"), "model", ["compute_task_key"], unique=False)
    op.create_index("model_list", "model", ["channel", "creation_date", "key"], unique=False)
    op.create_table(
        "model_file",
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("bucket", sa.String(length=100), nullable=False),
        sa.Column("file", sa.String(length=500), nullable=False),
        sa.Column("checksum", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("creation_date", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "performance",
        sa.Column("compute_task_key", sa.Uuid(), nullable=False),
        sa.Column("identifier", sa.String(length=100), nullable=False),
        sa.Column("compute_plan_key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("creation_date", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("compute_task_key", "identifier"),
    )
    op.create_index(op.f("ix_performance_channel"), "performance", ["channel"], unique=False)
    op.create_index(
        op.f("ix_performance_compute_plan_key"), "performance", ["compute_plan_key"], unique=False
    )
    op.create_table(
        "profiling_step",
        sa.Column("compute_task_key", sa.Uuid(), nullable=False),
        sa.Column("step", sa.String(length=100), nullable=False),
        sa.Column("duration", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("compute_task_key", "step"),
    )
    op.create_table(
        "task_profiling",
        sa.Column("compute_task_key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("creation_date", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("compute_task_key"),
    )
    op.create_index(op.f("ix_task_profiling_channel"), "task_profiling", ["channel"], unique=False)
    op.create_table(
        "function_input",
        sa.Column("function_key", sa.Uuid(), nullable=False),
        sa.Column("identifier", sa.String(length=100), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("optional", sa.Boolean(), nullable=False),
        sa.Column("multiple", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["function_key"], ["function.key"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("function_key", "identifier"),
    )
    op.create_table(
        "function_output",
        sa.Column("function_key", sa.Uuid(), nullable=False),
        sa.Column("identifier", sa.String(length=100), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("multiple", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["function_key"], ["function.key"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("function_key", "identifier"),
    )
    op.create_table(
        "function_profiling_step",
        sa.Column("function_key", sa.Uuid(), nullable=False),
        sa.Column("step", sa.String(length=100), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("duration", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["function_key"], ["function.key"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("function_key", "step"),
    )
    op.create_table(
        "data_manager_data_sample",
        sa.Column("data_sample_key", sa.Uuid(), nullable=False),
        sa.Column("data_manager_key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("data_sample_key", "data_manager_key"),
    )
    op.create_index(
        "data_manager_data_sample_manager",
        "data_manager_data_sample",
        ["data_manager_key"],
        unique=False,
    )
