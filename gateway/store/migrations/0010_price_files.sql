-- Files of prices that operators gave, and which list of prices is in force everywhere.

CREATE TABLE price_file (
    sha256       text PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    published_on date NOT NULL,
    content      bytea NOT NULL,
    added_at     timestamptz NOT NULL DEFAULT now(),
    added_by     text NOT NULL
);

-- The last row is in force. file NULL: the list that came with the package. A file that was not forced
-- gives way to a package of a later day.
CREATE TABLE price_choice (
    seq       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    file      text REFERENCES price_file (sha256),
    is_forced boolean NOT NULL,
    at        timestamptz NOT NULL DEFAULT now(),
    by        text NOT NULL
);
