-- +goose Up
CREATE TABLE ticket_ledger (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY
);
INSERT INTO ticket_ledger (id) VALUES (gen_random_uuid()::text);

CREATE TABLE used_tickets (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    used_by    TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX used_tickets_expires ON used_tickets (expires_at);
