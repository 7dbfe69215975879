package sqldb

import (
	"context"

	"github.com/streamspace-dev/streamspace-edge/store"
)

func nodeFields(id *string) []any { return []any{id} }

func (db *DB) SetNodeDrained(ctx context.Context, id string, drained bool) (changed bool, err error) {
	if id == "" {
		return false, store.Errorf(store.Invalid, "id is empty; an edge has one, node.id in its config")
	}
	text := "DELETE FROM drained_nodes WHERE id = ? RETURNING id"
	if drained {
		text = "INSERT INTO drained_nodes (id) VALUES (?) ON CONFLICT (id) DO NOTHING RETURNING id"
	}
	rows, err := all(ctx, db.writer, nodeFields, text, id)
	return len(rows) > 0, err
}

func (db *DB) DrainedNodes(ctx context.Context) ([]string, error) {
	rows, err := all(ctx, db.reader, nodeFields, "SELECT id FROM drained_nodes ORDER BY id")
	ids := make([]string, len(rows))
	for i, id := range rows {
		ids[i] = *id
	}
	return ids, err
}
