"""The claim of the next task as a function of the database: `claiming` says what it decides, and why.

A function, because its plan is then made once a connection, whatever pooler stands between: planning was the
larger part of a claim (0.9 ms of 1.6; now 0.3 in all). That plan must not depend on how few rows there were
when it was made, so it uses indexes only. This text is part of a migration and never changes:
another claim is a function of another name and a migration of its own.
"""

CLAIM_TASK_1 = """
CREATE FUNCTION claim_task_1(
    p_token text, p_lease float8, p_session uuid, p_patience float8,
    p_cpus float8, p_memory int8, p_gpus float8
) RETURNS TABLE (
    id int, kind text, key uuid, channel text, compute_plan_key uuid, attempts int, lock_token text,
    offer jsonb, canceled bool, chosen bool, blocked bool, more bool
) LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $claim$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE plan AS (
        (SELECT compute_plan_key AS key FROM work
         WHERE kind = 'task' AND state = 'ready' AND compute_plan_key IS NOT NULL
         ORDER BY compute_plan_key LIMIT 1)
        UNION ALL
        SELECT (SELECT w.compute_plan_key FROM work w
                WHERE w.kind = 'task' AND w.state = 'ready' AND w.compute_plan_key > plan.key
                ORDER BY w.compute_plan_key LIMIT 1)
        FROM plan WHERE plan.key IS NOT NULL
    ), root AS MATERIALIZED (
        SELECT claims, clock FROM work_clock WHERE channel = ''
    ), free AS MATERIALIZED (
        SELECT p_cpus + 1e-6 - COALESCE(sum(cpus), 0) AS cpus,
               p_memory - COALESCE(sum(memory_bytes), 0) AS memory,
               p_gpus + 1e-6 - COALESCE(sum(gpus), 0) AS gpus
        FROM work WHERE kind = 'task' AND state = 'leased'
    ), head AS (
        SELECT w.id, t.channel, t.compute_plan_key, t.served, t.weight,
               GREATEST(c.finish, root.clock) AS channel_start, GREATEST(t.finish, c.clock) AS start,
               w.cpus <= free.cpus AND w.memory_bytes <= free.memory AND w.gpus <= free.gpus AS fits,
               w.changed < now() - make_interval(secs => p_patience) AS waited
        FROM plan JOIN work_turn t ON t.compute_plan_key = plan.key
        JOIN work_clock c ON c.channel = t.channel
        CROSS JOIN LATERAL (
            SELECT r.id, r.cpus, r.memory_bytes, r.gpus, r.changed FROM work r
            WHERE r.kind = 'task' AND r.state = 'ready' AND r.compute_plan_key = plan.key
            ORDER BY r.created, r.id LIMIT 1) w
        CROSS JOIN root CROSS JOIN free
    ), line AS (
        SELECT head.*, COALESCE(bool_or(NOT fits AND waited) OVER (
            ORDER BY channel_start, channel, start, served NULLS FIRST, compute_plan_key
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), false) AS behind
        FROM head
    ), choice AS MATERIALIZED (
        SELECT * FROM line WHERE fits AND NOT behind
        ORDER BY channel_start, channel, start, served NULLS FIRST, compute_plan_key LIMIT 1
    ), first AS (
        UPDATE work_clock SET claims = work_clock.claims + 1, clock = choice.channel_start
        FROM choice, root WHERE work_clock.channel = '' AND work_clock.claims = root.claims
        RETURNING work_clock.claims
    ), claimed AS (
        UPDATE work SET state = 'leased', lock_token = p_token, attempts = attempts + 1,
               session = p_session, leased_until = now() + make_interval(secs => p_lease),
               changed = now(), cause = NULL
        FROM choice, first
        WHERE work.id = choice.id AND work.state = 'ready'
        RETURNING work.id, work.kind, work.key, work.channel, work.compute_plan_key, work.attempts,
                  work.lock_token, work.offer, work.canceled, choice.channel_start, choice.start
    ), round AS (
        UPDATE work_clock SET clock = claimed.start,
                              finish = claimed.channel_start + 1 / work_clock.weight
        FROM claimed WHERE work_clock.channel = claimed.channel
    ), turn AS (
        UPDATE work_turn SET served = clock_timestamp(), finish = claimed.start + 1 / work_turn.weight
        FROM claimed WHERE work_turn.compute_plan_key = claimed.compute_plan_key
    ), profiled AS (
        INSERT INTO task_profiling (compute_task_key, channel, creation_date)
        SELECT key, channel, now() FROM claimed
        ON CONFLICT (compute_task_key) DO UPDATE SET creation_date = now()
    )
    SELECT claimed.id, claimed.kind::text, claimed.key, claimed.channel::text, claimed.compute_plan_key,
           claimed.attempts, claimed.lock_token::text, claimed.offer, claimed.canceled,
           EXISTS (SELECT 1 FROM choice), EXISTS (SELECT 1 FROM head WHERE NOT fits), EXISTS (
        SELECT 1 FROM work w
        WHERE w.kind = 'task' AND w.state = 'ready' AND w.id <> claimed.id)
    FROM claimed RIGHT JOIN (SELECT 1) AS one ON true;
END
$claim$
"""
