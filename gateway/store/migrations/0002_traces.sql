-- One row of metadata for each call, in one partition for each UTC day. What reaches a day without
-- a partition falls into trace_default, and moves when the partition is made.

CREATE TABLE trace (
    id                 uuid NOT NULL,
    at                 timestamptz NOT NULL,
    token              text NOT NULL,
    project            text NOT NULL,
    run                text,
    dialect            text NOT NULL,
    endpoint           text NOT NULL,
    model_asked        text NOT NULL,
    model              text,
    provider           text,
    stream             boolean NOT NULL,
    status             integer NOT NULL,
    outcome            text NOT NULL,
    code               text,
    input_tokens       bigint NOT NULL,
    cached_tokens      bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    output_tokens      bigint NOT NULL,
    reasoning_tokens   bigint NOT NULL,
    cost_nusd          bigint NOT NULL,
    cost_basis         text NOT NULL,
    bound_nusd         bigint NOT NULL,
    price_version      text NOT NULL,
    latency_ms         double precision NOT NULL,
    first_byte_ms      double precision,
    overhead_ms        double precision NOT NULL,
    attempts           integer NOT NULL,
    labels             jsonb NOT NULL,
    PRIMARY KEY (at, id)
) PARTITION BY RANGE (at);

CREATE INDEX trace_by_run ON trace (run, at, id) WHERE run IS NOT NULL;
CREATE INDEX trace_by_model ON trace (model, at, id);
CREATE INDEX trace_by_token ON trace (token, at, id);

CREATE TABLE trace_default PARTITION OF trace DEFAULT;

-- Make the partition of a UTC day; false where it stands. It is made beside the table and attached,
-- which lets calls be recorded meanwhile, where CREATE … PARTITION OF would lock them out.
CREATE FUNCTION trace_make_partition(day date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    name  text := 'trace_' || to_char(day, 'YYYYMMDD');
    since timestamptz := day::timestamp AT TIME ZONE 'UTC';
    until timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('trace_make_partition'));
    IF to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE trace INCLUDING ALL)', name);
    LOCK TABLE trace_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format(
        'WITH moved AS (DELETE FROM trace_default WHERE at >= %L AND at < %L RETURNING *)
         INSERT INTO %I SELECT * FROM moved', since, until, name);
    EXECUTE format(
        'ALTER TABLE trace ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, since, until);
    RETURN true;
END $$;
