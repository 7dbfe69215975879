-- +goose Up
-- When an ended session last changed; as in PostgreSQL, which needs it.
DROP INDEX sessions_ended;
ALTER TABLE sessions ADD COLUMN ended_at INTEGER NOT NULL
    GENERATED ALWAYS AS (CASE WHEN state IN ('terminated', 'failed') THEN updated_at ELSE 0 END) VIRTUAL;
CREATE INDEX sessions_ended ON sessions (ended_at)
    WHERE ended_at <> 0;
