-- Thresholds of budgets that were passed, each told once, and messages to webhooks until they are there.

-- Its one row: since when thresholds are told. What was passed before that is told to nobody.
CREATE TABLE alerting (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    since   timestamptz NOT NULL DEFAULT now()
);

-- message_id NULL: it was passed already when alerting began.
CREATE TABLE alert (
    budget_id  bigint NOT NULL REFERENCES budget,
    percent    integer NOT NULL CHECK (percent BETWEEN 1 AND 100),
    cap_nusd   bigint NOT NULL CHECK (cap_nusd >= 0),
    taken_nusd bigint NOT NULL CHECK (taken_nusd > 0),
    message_id uuid UNIQUE,
    at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (budget_id, percent, cap_nusd)
);

-- One message to one webhook. Whoever sends it claims it for a while, and counts the attempt first.
CREATE TABLE outbox (
    seq           bigint GENERATED ALWAYS AS IDENTITY,
    message_id    uuid NOT NULL,
    webhook       text NOT NULL,
    body          text NOT NULL,
    state         text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed')),
    attempts      integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    due_at        timestamptz NOT NULL DEFAULT now(),
    claimed_until timestamptz,
    reason        text,
    made_at       timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz CHECK ((ended_at IS NULL) = (state = 'waiting')),
    PRIMARY KEY (message_id, webhook)
);

CREATE INDEX outbox_waiting ON outbox (webhook, due_at, seq) WHERE state = 'waiting';
