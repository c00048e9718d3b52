-- Replicas, budgets and the leases between them. Amounts are nano-dollars.
-- Tables whose rows are updated many times a second keep room on each page, so that an update
-- stays on it and touches no index.

CREATE TABLE replica (
    id         uuid PRIMARY KEY,
    role       text NOT NULL,
    version    text NOT NULL,
    state      text NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'stopped', 'reclaimed')),
    sequence   bigint NOT NULL DEFAULT 0 CHECK (sequence >= 0),
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- What is capped: the amount set through the API, else the one of the configuration.
CREATE TABLE budget_cap (
    scope       text NOT NULL CHECK (scope IN ('workspace', 'project', 'token', 'model')),
    scope_id    text NOT NULL CHECK ((scope = 'workspace') = (scope_id = '')),
    time_window text NOT NULL CHECK (time_window IN ('month', 'day', 'total')),
    api_nusd    bigint CHECK (api_nusd BETWEEN 0 AND 1000000000000000000),
    config_nusd bigint CHECK (config_nusd BETWEEN 0 AND 1000000000000000000),
    cap_nusd    bigint GENERATED ALWAYS AS (coalesce(api_nusd, config_nusd)) STORED,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, scope_id, time_window)
);

-- One budget in one period. cap_nusd NULL: counted, not capped. A closed budget grants nothing.
CREATE TABLE budget (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope          text NOT NULL CHECK (scope IN ('workspace', 'project', 'token', 'model', 'run')),
    scope_id       text NOT NULL,
    time_window    text NOT NULL CHECK (time_window IN ('month', 'day', 'total')),
    period_start   text NOT NULL CHECK (period_start ~ '^(\d{4}-\d\d-\d\d)?$'),
    cap_nusd       bigint CHECK (cap_nusd BETWEEN 0 AND 1000000000000000000),
    spent_nusd     bigint NOT NULL DEFAULT 0 CHECK (spent_nusd >= 0),
    leased_nusd    bigint NOT NULL DEFAULT 0 CHECK (leased_nusd >= 0),
    unsettled_nusd bigint NOT NULL DEFAULT 0 CHECK (unsettled_nusd >= 0),
    overshoot_nusd bigint NOT NULL DEFAULT 0 CHECK (overshoot_nusd >= 0),
    is_closed      boolean NOT NULL DEFAULT false,
    UNIQUE (scope, scope_id, time_window, period_start),
    CHECK ((time_window = 'total') = (period_start = ''))
) WITH (fillfactor = 50);

-- A lease of a replica that is taken for dead is unsettled, and counts as spent until it comes back.
CREATE TABLE lease (
    replica_id  uuid NOT NULL REFERENCES replica,
    budget_id   bigint NOT NULL REFERENCES budget,
    amount_nusd bigint NOT NULL CHECK (amount_nusd > 0),
    state       text NOT NULL DEFAULT 'leased' CHECK (state IN ('leased', 'unsettled')),
    PRIMARY KEY (replica_id, budget_id)
) WITH (fillfactor = 50);

-- A run's money is the budget ('run', its id, 'total', '').
CREATE TABLE run (
    id                    uuid PRIMARY KEY,
    project               text NOT NULL,
    name                  text NOT NULL,
    state                 text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed')),
    output_tokens_ceiling integer CHECK (output_tokens_ceiling > 0),
    labels                jsonb NOT NULL DEFAULT '{}',
    calls                 bigint NOT NULL DEFAULT 0 CHECK (calls >= 0),
    opened_by             text NOT NULL,
    opened_at             timestamptz NOT NULL DEFAULT now(),
    closed_at             timestamptz CHECK ((closed_at IS NULL) = (state = 'open')),
    UNIQUE (project, name)
) WITH (fillfactor = 80);

CREATE INDEX run_by_project ON run (project, id);
CREATE INDEX run_open ON run (id) WHERE state = 'open';
