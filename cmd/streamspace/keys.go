package main

import (
	"context"
	"fmt"
	"os"
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

// The ids of the first keys are always the same, so that of edges which start at
// once on an empty database one makes them.
const (
	firstAgentsID = "00000000-0000-7000-8000-000000000001"
	firstAdminID  = "00000000-0000-7000-8000-000000000002"
)

// writeFirstKeys puts an admin key and a join token beside the database when
// there is no admin key yet. The admin key comes last, so that a start that was
// killed in between is made up for by the next. Where another edge was first, its
// folder has them.
func (e *edge) writeFirstKeys(ctx context.Context) error {
	keys, err := e.store.Keys(ctx)
	if err != nil || slices.ContainsFunc(keys, func(k *store.Key) bool { return k.Role == store.RoleAdmin }) {
		return err
	}
	for _, first := range []struct {
		file, id, name string
		role           store.Role
	}{
		{joinTokenFile, firstAgentsID, "first agents", store.RoleAgent},
		{adminKeyFile, firstAdminID, "first admin", store.RoleAdmin},
	} {
		file := filepath.Join(e.config.dataDir(), first.file)
		name := fmt.Sprintf("%s (%s)", first.name, e.config.Node.ID)
		_, err := e.keepKey(ctx, file, first.id, name, first.role)
		if store.CodeOf(err) == store.Conflict {
			if err := e.leaveFirstKey(ctx, file, first.id); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		e.log.Info("wrote a first key", zap.String("file", file), zap.String("role", string(first.role)))
	}
	return nil
}

// leaveFirstKey removes the file of a key that another edge has made first, and
// tells where that one's is.
func (e *edge) leaveFirstKey(ctx context.Context, file, id string) error {
	key, err := e.store.Key(ctx, id)
	if err != nil {
		return err
	}
	if err := os.Remove(file); err != nil {
		return fmt.Errorf("the file of a key that another edge made first is to be removed: %w", err)
	}
	e.log.Info("another edge was first to make this key; its secret is in that edge's node.data_dir",
		zap.String("key", key.Name), zap.String("file", filepath.Base(file)))
	return nil
}

// keepKey returns the secret in file when it is a key of that role, else that
// of a new key, with that id (empty: one of its own). The file is written before the key exists: a start that is
// killed in between leaves no key whose secret is lost.
func (e *edge) keepKey(ctx context.Context, file, id, name string, role store.Role) (secret string, err error) {
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
	if id != "" {
		key.ID = id
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
