-- +goose Up
-- What an edge looks for every few seconds: few among many.
CREATE INDEX sessions_moving ON sessions (created_at, id)
    WHERE state IN ('pending', 'starting', 'unreachable', 'stopping');
