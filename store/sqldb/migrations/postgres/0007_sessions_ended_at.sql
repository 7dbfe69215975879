-- +goose Up
-- When an ended session last changed. An index of updated_at itself would have
-- every change of a session that runs write into every index there is (no HOT
-- update).
-- Whoever reads sessions waits behind this while it waits for one who has read them
-- already and goes on (pg_dump): so it gives up soon, and is tried again. An autovacuum
-- makes way after 1 s (deadlock_timeout), and calls of edges have 2 s.
SET LOCAL lock_timeout = '1500ms';
DROP INDEX sessions_ended;
ALTER TABLE sessions ADD COLUMN ended_at BIGINT NOT NULL
    GENERATED ALWAYS AS (CASE WHEN state IN ('terminated', 'failed') THEN updated_at ELSE 0 END) STORED;
CREATE INDEX sessions_ended ON sessions (ended_at)
    WHERE ended_at <> 0;
