-- +goose Up
-- What an edge looks for every few seconds: few among many. SQLite takes the index
-- only for a query with these very words in this order, which is that of store.States.
CREATE INDEX sessions_moving ON sessions (created_at, id)
    WHERE state IN ('pending', 'starting', 'unreachable', 'stopping');
