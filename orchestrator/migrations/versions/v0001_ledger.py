"""The ledger's tables.

Assets are kept as the bytes of their wire message (`document`), with the columns beside it that queries need. A
task's document never changes and does not hold its status; its events refer to it in place of repeating it.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ASSETS = ("function", "data_manager", "data_sample")

HEAD = """
-- One row a channel: who writes it (`epoch` fences earlier writers), and the position of its last event.
CREATE TABLE channel_head (
    channel text PRIMARY KEY,
    epoch bigint NOT NULL DEFAULT 0,
    holder text NOT NULL DEFAULT '',
    expires timestamptz NOT NULL DEFAULT '-infinity',
    position bigint NOT NULL DEFAULT 0
);
CREATE FUNCTION ledger_fence(of_channel text, of_epoch bigint, to_position bigint, lease interval)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE channel_head SET position = to_position, expires = clock_timestamp() + lease
     WHERE channel = of_channel AND epoch = of_epoch;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another process writes channel %', of_channel USING ERRCODE = 'SR001';
    END IF;
END $$;
CREATE TABLE organization (
    channel text NOT NULL,
    id text NOT NULL,
    document bytea NOT NULL,
    PRIMARY KEY (channel, id)
);
"""

ASSET = """
CREATE TABLE {table} (
    key uuid PRIMARY KEY,
    channel text NOT NULL,
    created timestamptz NOT NULL,
    document bytea NOT NULL
);
CREATE INDEX {table}_list ON {table} (channel, created, key);
"""

DATA_AND_PLANS = """
CREATE TABLE data_sample_manager (
    manager uuid NOT NULL,
    sample uuid NOT NULL,
    PRIMARY KEY (manager, sample)
);
CREATE TABLE compute_plan (
    key uuid PRIMARY KEY,
    channel text NOT NULL,
    owner text NOT NULL,
    created timestamptz NOT NULL,
    document bytea NOT NULL
);
CREATE INDEX compute_plan_list ON compute_plan (channel, created, key);
"""

TASKS = """
CREATE TABLE compute_task (
    key uuid PRIMARY KEY,
    channel text NOT NULL,
    plan uuid NOT NULL,
    function uuid NOT NULL,
    owner text NOT NULL,
    worker text NOT NULL,
    status smallint NOT NULL,
    pending integer NOT NULL,
    has_disabled boolean NOT NULL,
    created timestamptz NOT NULL,
    document bytea NOT NULL
);
COMMENT ON COLUMN compute_task.pending IS 'distinct parents that are not DONE';
COMMENT ON COLUMN compute_task.has_disabled IS 'some model of the task was disabled';
CREATE INDEX compute_task_list ON compute_task (channel, created, key);
CREATE INDEX compute_task_plan ON compute_task (plan, function);
CREATE INDEX compute_task_build ON compute_task (function) WHERE status IN (7, 8);
CREATE TABLE task_parent (
    parent uuid NOT NULL,
    child uuid NOT NULL,
    PRIMARY KEY (parent, child)
);
"""

OUTPUTS = """
CREATE TABLE model (
    key uuid PRIMARY KEY,
    channel text NOT NULL,
    task uuid NOT NULL,
    document bytea NOT NULL
);
CREATE INDEX model_task ON model (task);
CREATE TABLE performance (
    task uuid NOT NULL,
    identifier text NOT NULL,
    channel text NOT NULL,
    created timestamptz NOT NULL,
    document bytea NOT NULL,
    PRIMARY KEY (task, identifier)
);
CREATE INDEX performance_list ON performance (channel, created, task DESC, identifier);
CREATE TABLE output_asset (
    task uuid NOT NULL,
    identifier text NOT NULL,
    position integer NOT NULL,
    kind smallint NOT NULL,
    asset_key text NOT NULL UNIQUE,
    PRIMARY KEY (task, identifier, position)
);
CREATE TABLE failure_report (
    key uuid PRIMARY KEY,
    channel text NOT NULL,
    document bytea NOT NULL
);
-- Every stored file has an address of its own, whatever the channel.
CREATE TABLE storage_address (address text PRIMARY KEY);
"""

EVENTS = """
CREATE TABLE event (
    channel text NOT NULL,
    position bigint NOT NULL,
    id uuid NOT NULL UNIQUE,
    asset_key text NOT NULL,
    asset_kind smallint NOT NULL,
    event_kind smallint NOT NULL,
    moment timestamptz NOT NULL,
    reason text,
    payload bytea,
    task uuid,
    status smallint,
    slim boolean NOT NULL,
    PRIMARY KEY (channel, position)
);
COMMENT ON COLUMN event.payload IS 'snapshot of the asset; null for tasks, which are joined by `task`';
COMMENT ON COLUMN event.slim IS 'the snapshot of the task goes without inputs and outputs';
CREATE INDEX event_asset ON event (channel, asset_key);
"""


def upgrade() -> None:
    op.execute(HEAD)
    for table in ASSETS:
        op.execute(ASSET.format(table=table))
    for part in (DATA_AND_PLANS, TASKS, OUTPUTS, EVENTS):
        op.execute(part)


def downgrade() -> None:
    for table in (*ASSETS, *_OTHERS):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION ledger_fence(text, bigint, bigint, interval)")


_OTHERS = (
    "channel_head",
    "organization",
    "data_sample_manager",
    "compute_plan",
    "compute_task",
    "task_parent",
    "model",
    "performance",
    "output_asset",
    "failure_report",
    "storage_address",
    "event",
)
