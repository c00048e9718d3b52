-- Who may come in. Nothing here can be turned back into a secret.

-- pepper_check tells a start with another token pepper from one with bad tokens.
CREATE TABLE installation (
    is_only      boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    id           uuid NOT NULL,
    pepper_check bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE token (
    id           uuid PRIMARY KEY,
    name         text NOT NULL,
    secret_hmac  bytea NOT NULL UNIQUE CHECK (length(secret_hmac) = 32),
    prefix       text NOT NULL CHECK (length(prefix) = 12),
    project      text NOT NULL,
    scopes       text[] NOT NULL,
    models       text[],
    expires_at   timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    revoked_at   timestamptz,
    last_used_at timestamptz
);

CREATE TABLE owner_link (
    hash       bytea PRIMARY KEY CHECK (length(hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);

CREATE TABLE session (
    hash       bytea PRIMARY KEY CHECK (length(hash) = 32),
    user_name  text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ended_at   timestamptz
);
