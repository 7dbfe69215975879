-- +goose Up
CREATE TABLE drained_nodes (
    id TEXT NOT NULL PRIMARY KEY
) STRICT;
