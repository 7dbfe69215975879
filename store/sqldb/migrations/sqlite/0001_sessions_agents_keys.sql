-- Times are microseconds since 1970 in UTC, 0 for none; durations are
-- microseconds; labels and runtimes are JSON.

-- +goose Up
CREATE TABLE sessions (
    id            TEXT    NOT NULL PRIMARY KEY,
    org           TEXT    NOT NULL,
    owner         TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    name          TEXT    NOT NULL,
    state         TEXT    NOT NULL,
    desired       TEXT    NOT NULL,
    reason        TEXT    NOT NULL,
    agent_id      TEXT    NOT NULL,
    runtime       TEXT    NOT NULL,
    labels        TEXT    NOT NULL,
    width         INTEGER NOT NULL,
    height        INTEGER NOT NULL,
    endpoint      TEXT    NOT NULL,
    idle_timeout  INTEGER NOT NULL,
    max_duration  INTEGER NOT NULL,
    last_activity INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL
) STRICT;

-- Lists: all, of one owner, of one agent.
CREATE INDEX sessions_created ON sessions (created_at, id);
CREATE INDEX sessions_owner ON sessions (org, owner, created_at, id);
CREATE INDEX sessions_agent ON sessions (agent_id, created_at, id);

-- Counts of what takes room, and what may be purged.
CREATE INDEX sessions_active ON sessions (agent_id, runtime)
    WHERE agent_id <> '' AND state NOT IN ('terminated', 'failed');
CREATE INDEX sessions_ended ON sessions (updated_at)
    WHERE state IN ('terminated', 'failed');

-- Deferred: a key is claimed before its session is written.
CREATE TABLE idempotency_keys (
    org        TEXT    NOT NULL,
    owner      TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    session_id TEXT    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (org, owner, key)
) STRICT;

CREATE INDEX idempotency_keys_session ON idempotency_keys (session_id);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

CREATE TABLE agents (
    id             TEXT    NOT NULL PRIMARY KEY,
    key_hash       BLOB    NOT NULL,
    created_at     INTEGER NOT NULL,
    name           TEXT    NOT NULL,
    capacity       INTEGER NOT NULL,
    weight         INTEGER NOT NULL,
    labels         TEXT    NOT NULL,
    runtimes       TEXT    NOT NULL,
    version        TEXT    NOT NULL,
    draining       INTEGER NOT NULL,
    last_heartbeat INTEGER NOT NULL
) STRICT;

CREATE TABLE keys (
    id         TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    org        TEXT    NOT NULL,
    owner      TEXT    NOT NULL,
    role       TEXT    NOT NULL,
    hash       BLOB    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE TABLE secrets (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;
