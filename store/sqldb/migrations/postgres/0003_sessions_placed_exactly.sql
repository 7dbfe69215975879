-- +goose Up
ALTER TABLE sessions ADD COLUMN refusals TEXT NOT NULL DEFAULT '{}';

-- Whoever counts an owner's sessions in order to store one more locks its row.
CREATE TABLE owners (
    org   TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (org, owner)
);

CREATE INDEX sessions_owned ON sessions (org, owner)
    WHERE state NOT IN ('terminated', 'failed');
