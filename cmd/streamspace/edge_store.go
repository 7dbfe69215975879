package main

import (
	"context"
	"fmt"
	"os"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/store"
	"github.com/streamspace-dev/streamspace-edge/store/sqldb"
)

// openStore opens the database that the config names.
func (e *edge) openStore(ctx context.Context) (err error) {
	if p := e.config.Store.Postgres; p != nil {
		e.store, err = e.openPostgres(ctx, p)
	} else {
		e.store, err = e.openSQLite(ctx, e.config.Store.SQLite.Path)
	}
	if err != nil {
		return err
	}
	if e.config.Cluster.SecretFile != "" {
		secret, err := e.config.Cluster.secret()
		if err != nil {
			return fmt.Errorf("cluster.secret_file: %w", err)
		}
		e.store = clusterStore{e.store, secret}
	}
	return nil
}

// openAuth reads from the database what tickets and log-ins are signed with.
func (e *edge) openAuth(ctx context.Context) (err error) {
	e.auth, err = auth.New(ctx, e.store, e.coord)
	return err
}

func (e *edge) openSQLite(ctx context.Context, path string) (s store.Store, err error) {
	if e.lock, err = sqldb.Lock(path); err != nil {
		return nil, fmt.Errorf("%s: %w", e.config.called("store.sqlite.path"), err)
	}
	db, err := sqldb.Open(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.config.called("store.sqlite.path"), err)
	}
	return db, nil
}

func (e *edge) openPostgres(ctx context.Context, c *postgresConfig) (store.Store, error) {
	if err := os.MkdirAll(e.config.dataDir(), 0o700); err != nil {
		return nil, fmt.Errorf("%s: %w", e.config.dataKey(), err)
	}
	o := c.options()
	o.Metrics = sqldb.NewMetrics(e.registry)
	db, err := sqldb.OpenPostgres(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("store.postgres: %w", err)
	}
	return db, nil
}
