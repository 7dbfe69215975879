-- Times are microseconds since 1970 in UTC, 0 for none; durations are
-- microseconds; labels and runtimes are JSON. Texts that are ordered or found by
-- an index compare by their bytes: a new version of the system's collations
-- can't break an index then, and the order is the one of SQLite.

-- +goose Up
CREATE TABLE sessions (
    id            TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    org           TEXT   COLLATE "C" NOT NULL,
    owner         TEXT   COLLATE "C" NOT NULL,
    created_at    BIGINT NOT NULL,
    name          TEXT   NOT NULL,
    state         TEXT   COLLATE "C" NOT NULL,
    desired       TEXT   COLLATE "C" NOT NULL,
    reason        TEXT   NOT NULL,
    agent_id      TEXT   COLLATE "C" NOT NULL,
    runtime       TEXT   COLLATE "C" NOT NULL,
    labels        TEXT   NOT NULL,
    width         BIGINT NOT NULL,
    height        BIGINT NOT NULL,
    endpoint      TEXT   NOT NULL,
    idle_timeout  BIGINT NOT NULL,
    max_duration  BIGINT NOT NULL,
    last_activity BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL
);

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
    org        TEXT   COLLATE "C" NOT NULL,
    owner      TEXT   COLLATE "C" NOT NULL,
    key        TEXT   COLLATE "C" NOT NULL,
    session_id TEXT   COLLATE "C" NOT NULL REFERENCES sessions (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org, owner, key)
);

CREATE INDEX idempotency_keys_session ON idempotency_keys (session_id);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

CREATE TABLE agents (
    id             TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    key_hash       BYTEA   NOT NULL,
    created_at     BIGINT  NOT NULL,
    name           TEXT    NOT NULL,
    capacity       BIGINT  NOT NULL,
    weight         BIGINT  NOT NULL,
    labels         TEXT    NOT NULL,
    runtimes       TEXT    NOT NULL,
    version        TEXT    NOT NULL,
    draining       BOOLEAN NOT NULL,
    last_heartbeat BIGINT  NOT NULL
);

CREATE TABLE keys (
    id         TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL,
    org        TEXT   COLLATE "C" NOT NULL,
    owner      TEXT   COLLATE "C" NOT NULL,
    role       TEXT   COLLATE "C" NOT NULL,
    hash       BYTEA  NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE secrets (
    name  TEXT  COLLATE "C" NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);
