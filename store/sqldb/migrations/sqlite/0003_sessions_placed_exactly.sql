-- +goose Up
ALTER TABLE sessions ADD COLUMN refusals TEXT NOT NULL DEFAULT '{}';

-- Whoever counts an owner's sessions in order to store one more locks its row.
CREATE TABLE owners (
    org   TEXT NOT NULL,
    owner TEXT NOT NULL,
    PRIMARY KEY (org, owner)
) STRICT;

CREATE INDEX sessions_owned ON sessions (org, owner)
    WHERE state NOT IN ('terminated', 'failed');
