-- Who changed what. Rows are only ever added; audit_head numbers them without a gap, since whoever
-- takes a number holds its row until the change commits or takes the number back.

CREATE TABLE audit_head (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    seq     bigint NOT NULL CHECK (seq >= 0)
) WITH (fillfactor = 50);

INSERT INTO audit_head (seq) VALUES (0);

CREATE TABLE audit (
    seq     bigint PRIMARY KEY CHECK (seq > 0),
    at      timestamptz NOT NULL,
    actor   text NOT NULL,
    via     text NOT NULL,
    address text,
    action  text NOT NULL,
    target  text NOT NULL,
    detail  jsonb NOT NULL
);

CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
