-- What replicas ask of the ledger while calls wait for it. Each is one round trip, holds its locks
-- for no longer than the server works on it, and takes them in one order: the replica's row, then
-- budgets by id, then runs by id. A function is never changed: the next release adds another.
-- 4000000000000000000 is `core.budget.MOST_COUNTED`: above it nothing is leased, and what is charged
-- is booked as that much, lest an absurd price have a flush refused for ever.

-- A replica that was taken for dead lives: its leases are leases again.
CREATE FUNCTION ledger_revive(teller uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE replica SET state = 'live', seen_at = now() WHERE id = teller AND state = 'reclaimed';
    IF NOT FOUND THEN
        RETURN;
    END IF;
    WITH locked AS MATERIALIZED (
        SELECT b.id, l.amount_nusd AS amount
        FROM lease l JOIN budget b ON b.id = l.budget_id
        WHERE l.replica_id = teller AND l.state = 'unsettled'
        ORDER BY b.id FOR UPDATE OF b
    ), marked AS (
        UPDATE lease SET state = 'leased' WHERE replica_id = teller AND state = 'unsettled'
    )
    UPDATE budget b
    SET leased_nusd = b.leased_nusd + k.amount, unsettled_nusd = b.unsettled_nusd - k.amount
    FROM locked k WHERE b.id = k.id;
END $$;

-- Lease amounts to a live replica if every one of them fits, else none. Returns the budgets as they
-- were before, and whether it was done; no row where the replica isn't live or a budget is missing.
CREATE FUNCTION ledger_grant(
    teller uuid, scopes text[], scope_ids text[], windows text[], periods text[], amounts bigint[]
) RETURNS TABLE (
    scope text, scope_id text, time_window text, period_start text, cap_nusd bigint,
    spent_nusd bigint, leased_nusd bigint, unsettled_nusd bigint, is_closed boolean, is_granted boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    found_count integer;
    fits        boolean;
BEGIN
    UPDATE replica SET seen_at = now() WHERE id = teller AND state = 'live';
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM FROM unnest(scopes, scope_ids, windows, periods)
            AS w (scope, scope_id, time_window, period_start)
        JOIN budget b USING (scope, scope_id, time_window, period_start)
        ORDER BY b.id FOR UPDATE OF b;
    SELECT count(*), bool_and(w.amount = 0 OR NOT b.is_closed AND (
               coalesce(b.cap_nusd, 4000000000000000000)
               - b.spent_nusd - b.unsettled_nusd - b.leased_nusd >= w.amount))
    INTO found_count, fits
    FROM unnest(scopes, scope_ids, windows, periods, amounts)
         AS w (scope, scope_id, time_window, period_start, amount)
    JOIN budget b USING (scope, scope_id, time_window, period_start);
    IF found_count < cardinality(scopes) THEN
        RETURN;
    END IF;
    RETURN QUERY
        SELECT b.scope, b.scope_id, b.time_window, b.period_start, b.cap_nusd,
               b.spent_nusd, b.leased_nusd, b.unsettled_nusd, b.is_closed, fits
        FROM unnest(scopes, scope_ids, windows, periods)
             AS w (scope, scope_id, time_window, period_start)
        JOIN budget b USING (scope, scope_id, time_window, period_start);
    IF NOT fits THEN
        RETURN;
    END IF;
    UPDATE budget b SET leased_nusd = b.leased_nusd + w.amount
    FROM unnest(scopes, scope_ids, windows, periods, amounts)
         AS w (scope, scope_id, time_window, period_start, amount)
    WHERE b.scope = w.scope AND b.scope_id = w.scope_id AND b.time_window = w.time_window
          AND b.period_start = w.period_start AND w.amount > 0;
    INSERT INTO lease AS l (replica_id, budget_id, amount_nusd)
    SELECT teller, b.id, w.amount
    FROM unnest(scopes, scope_ids, windows, periods, amounts)
         AS w (scope, scope_id, time_window, period_start, amount)
    JOIN budget b USING (scope, scope_id, time_window, period_start)
    WHERE w.amount > 0
    ON CONFLICT (replica_id, budget_id) DO UPDATE SET amount_nusd = l.amount_nusd + excluded.amount_nusd;
END $$;

-- Book a flush once, whatever often it is sent. Returns the state in which it found the replica, or
-- `gap` where flushes before it are missing. `kept` is what is left of a lease, where that is said.
-- What a replica that was resolved in part flushes takes the place of what is still feared of it.
CREATE FUNCTION ledger_flush(
    teller uuid, number bigint,
    scopes text[], scope_ids text[], windows text[], periods text[],
    spends bigint[], ends bigint[], kepts bigint[], overshoots bigint[],
    projects text[], names text[], counts bigint[], traces jsonb
) RETURNS text LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    booked bigint;
    was    text;
BEGIN
    SELECT sequence, state INTO booked, was FROM replica WHERE id = teller FOR UPDATE;
    IF booked IS NULL OR booked < number - 1 THEN
        RETURN 'gap';
    END IF;
    UPDATE replica SET sequence = greatest(booked, number), seen_at = now() WHERE id = teller;
    IF was = 'reclaimed' THEN
        PERFORM ledger_revive(teller);
    END IF;
    IF booked >= number THEN
        RETURN was;
    END IF;
    IF cardinality(scopes) > 0 THEN
        WITH line AS (
            SELECT scope, scope_id, time_window, period_start, sum(spent) AS spent,
                   sum(ended)::bigint AS ended, min(kept) AS kept, sum(overshoot) AS overshoot
            FROM unnest(scopes, scope_ids, windows, periods, spends, ends, kepts, overshoots)
                 AS l (scope, scope_id, time_window, period_start, spent, ended, kept, overshoot)
            GROUP BY 1, 2, 3, 4
        ), locked AS MATERIALIZED (
            SELECT b.id, line.spent, line.ended, line.kept, line.overshoot
            FROM line JOIN budget b USING (scope, scope_id, time_window, period_start)
            ORDER BY b.id FOR UPDATE OF b
        ), part AS MATERIALIZED (
            SELECT k.id, k.spent, k.overshoot, l.amount_nusd AS leased, l.state = 'unsettled' AS was_feared,
                   least(coalesce(l.amount_nusd - k.kept, k.ended), coalesce(l.amount_nusd, 0)) AS ended
            FROM locked k LEFT JOIN lease l ON l.replica_id = teller AND l.budget_id = k.id
        ), shrunk AS (
            UPDATE lease l SET amount_nusd = l.amount_nusd - greatest(p.ended, 0)
            FROM part p WHERE l.replica_id = teller AND l.budget_id = p.id AND p.ended < p.leased
        ), gone AS (
            DELETE FROM lease l USING part p
            WHERE l.replica_id = teller AND l.budget_id = p.id AND p.ended = p.leased
        )
        UPDATE budget b
        SET spent_nusd = greatest(b.spent_nusd, least(b.spent_nusd + p.spent, 4000000000000000000)),
            leased_nusd = b.leased_nusd - CASE WHEN p.was_feared THEN 0 ELSE greatest(p.ended, 0) END,
            unsettled_nusd = b.unsettled_nusd - CASE WHEN p.was_feared THEN greatest(p.ended, 0) ELSE 0 END,
            overshoot_nusd = greatest(b.overshoot_nusd, least(b.overshoot_nusd + p.overshoot, 4000000000000000000))
        FROM part p WHERE b.id = p.id;
    END IF;
    INSERT INTO trace (
        id, at, token, project, run, dialect, endpoint, model_asked, model, provider, stream,
        status, outcome, code, input_tokens, cached_tokens, cache_write_tokens, output_tokens,
        reasoning_tokens, cost_nusd, cost_basis, bound_nusd, price_version, latency_ms,
        first_byte_ms, overhead_ms, attempts, labels
    ) SELECT
        id, at, token, project, run, dialect, endpoint, model_asked, model, provider, stream,
        status, outcome, code, input_tokens, cached_tokens, cache_write_tokens, output_tokens,
        reasoning_tokens, cost_nusd, cost_basis, bound_nusd, price_version, latency_ms,
        first_byte_ms, overhead_ms, attempts, labels
    FROM jsonb_to_recordset(traces) AS t (
        id uuid, at timestamptz, token text, project text, run text, dialect text, endpoint
        text, model_asked text, model text, provider text, stream boolean, status integer,
        outcome text, code text, input_tokens bigint, cached_tokens bigint, cache_write_tokens
        bigint, output_tokens bigint, reasoning_tokens bigint, cost_nusd bigint, cost_basis
        text, bound_nusd bigint, price_version text, latency_ms double precision, first_byte_ms
        double precision, overhead_ms double precision, attempts integer, labels jsonb
    );
    WITH counted AS MATERIALIZED (
        SELECT r.id, c.calls
        FROM unnest(projects, names, counts) AS c (project, name, calls)
        JOIN run r USING (project, name)
        ORDER BY r.id FOR NO KEY UPDATE OF r
    )
    UPDATE run r SET calls = r.calls + c.calls FROM counted c WHERE r.id = c.id;
    RETURN was;
END $$;
