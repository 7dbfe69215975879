package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// Beside the database: the only place where the secrets of the first keys stand.
const (
	adminKeyFile  = "admin.key"
	joinTokenFile = "join.token"
)

// writeFirstKeys puts an admin key and a join token beside the database when
// there is no admin key yet. The admin key comes last, so that a start that was
// killed in between is made up for by the next.
func (e *edge) writeFirstKeys(ctx context.Context) error {
	keys, err := e.store.Keys(ctx)
	if err != nil || slices.ContainsFunc(keys, func(k *store.Key) bool { return k.Role == store.RoleAdmin }) {
		return err
	}
	for _, first := range []struct {
		file, name string
		role       store.Role
	}{
		{joinTokenFile, "first agents", store.RoleAgent},
		{adminKeyFile, "first admin", store.RoleAdmin},
	} {
		file := filepath.Join(e.config.dataDir(), first.file)
		if _, err := e.keepKey(ctx, file, first.name, first.role); err != nil {
			return err
		}
		e.log.Info("wrote a first key", zap.String("file", file), zap.String("role", string(first.role)))
	}
	return nil
}

// keepKey returns the secret in file when it is a key of that role, else that
// of a new key. The file is written before the key exists: a start that is
// killed in between leaves no key whose secret is lost.
func (e *edge) keepKey(ctx context.Context, file, name string, role store.Role) (secret string, err error) {
	old, _ := readToken(file) // a missing or broken file is made anew
	if old.secret != "" {
		if caller, err := e.auth.Key(ctx, old.secret); err == nil && caller.Role == role {
			return old.secret, e.writeKey(file, old.secret, role)
		}
	}
	secret, key, err := auth.NewKey(name, "default", "admin", role)
	if err != nil {
		return "", err
	}
	if err := e.writeKey(file, secret, role); err != nil {
		return "", err
	}
	return secret, e.store.CreateKey(ctx, key)
}

// writeKey writes a secret as its reader needs it: agents also have to know the
// edge by the certificate of now.
func (e *edge) writeKey(file, secret string, role store.Role) error {
	text := secret
	if pin := e.joinPin(); role == store.RoleAgent && pin != "" {
		text += "@" + pin
	}
	if err := writeFile(file, []byte(text+"\n"), 0o600); err != nil {
		return fmt.Errorf("the key file can't be written: %w", err)
	}
	return nil
}
