-- +goose Up
CREATE TABLE drained_nodes (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY
);
