-- Kill switches, and which replica has applied which. `project` narrows a run's name.

CREATE TABLE kill (
    id        uuid PRIMARY KEY,
    scope     text NOT NULL CHECK (scope IN ('all', 'run', 'token', 'project', 'model', 'provider')),
    scope_id  text NOT NULL CHECK ((scope = 'all') = (scope_id = '')),
    project   text CHECK (project IS NULL OR scope = 'run'),
    reason    text NOT NULL,
    by        text NOT NULL,
    at        timestamptz NOT NULL DEFAULT now(),
    lifted_at timestamptz,
    lifted_by text,
    CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
);

CREATE INDEX kill_on ON kill (at) WHERE lifted_at IS NULL;

CREATE TABLE kill_ack (
    kill_id     uuid NOT NULL REFERENCES kill,
    replica_id  uuid NOT NULL REFERENCES replica,
    streams_cut integer NOT NULL CHECK (streams_cut >= 0),
    at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kill_id, replica_id)
);
