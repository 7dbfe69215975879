-- +goose Up
-- On SQLite the use of tickets is noted in memory. What was in it is here while no
-- edge runs.
CREATE TABLE ticket_ledger (
    id           TEXT    NOT NULL PRIMARY KEY,
    forgotten_at INTEGER NOT NULL
);

CREATE TABLE used_tickets (
    id         TEXT    NOT NULL PRIMARY KEY,
    expires_at INTEGER NOT NULL
);
