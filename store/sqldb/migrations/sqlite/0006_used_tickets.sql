-- +goose Up
-- On SQLite the use of tickets is noted in memory.
SELECT 1;
