-- What a token may use in a minute; null is as much as it likes.

ALTER TABLE token
    ADD COLUMN requests_per_minute integer CHECK (requests_per_minute BETWEEN 1 AND 1000000),
    ADD COLUMN tokens_per_minute   integer CHECK (tokens_per_minute BETWEEN 1 AND 1000000000);
