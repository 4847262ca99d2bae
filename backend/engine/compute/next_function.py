"""What a result makes possible, as a function of the database: `ahead` says what it decides, and why.

A function for the same reason as the claim's (`claim_function`): it stands between a result and the next lease.
This text is part of a migration and never changes: another one is a function of another name.
"""

OPEN_NEXT_TASKS_1 = """
CREATE FUNCTION open_next_tasks_1(p_task uuid) RETURNS SETOF uuid
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $open$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH next AS (
        SELECT DISTINCT task_key FROM compute_task_input WHERE parent_task_key = p_task
    ), opened AS (
        DELETE FROM task_ahead a USING next, compute_plan p
        WHERE a.task_key = next.task_key AND p.key = a.compute_plan_key
          AND p.status NOT IN ('PLAN_STATUS_CANCELED', 'PLAN_STATUS_FAILED')
          AND NOT EXISTS (
              SELECT 1 FROM compute_task_input i JOIN compute_task t ON t.key = i.parent_task_key
              WHERE i.task_key = a.task_key AND t.status <> 'STATUS_DONE' AND NOT EXISTS (
                  SELECT 1 FROM outbox o WHERE o.task_key = t.key AND o.result ->> 'failure' IS NULL)
                AND NOT EXISTS (  -- told already, and the event is on its way
                  SELECT 1 FROM work w JOIN model m ON m.compute_task_key = w.key
                  WHERE w.kind = 'task' AND w.key = t.key AND w.state = 'done'))
        RETURNING a.task_key, a.channel, a.compute_plan_key, a.offer
    ), turns AS (
        INSERT INTO work_turn (compute_plan_key, channel)
        SELECT DISTINCT compute_plan_key, channel FROM opened ORDER BY compute_plan_key
        ON CONFLICT DO NOTHING
    )
    INSERT INTO work (kind, key, channel, compute_plan_key, priority, offer, cpus, memory_bytes, gpus,
                      state, attempts, canceled)
    SELECT 'task', task_key, channel, compute_plan_key, 0, offer,
           COALESCE((offer -> 'resources' ->> 'cpus')::float8, 0),
           COALESCE((offer -> 'resources' ->> 'memory_bytes')::int8, 0),
           COALESCE((offer -> 'resources' ->> 'gpus')::float8, 0), 'ready', 0, false
    FROM opened ON CONFLICT (kind, key) DO NOTHING RETURNING key;
END
$open$
"""
