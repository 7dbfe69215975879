package main

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"os"

	"github.com/streamspace-dev/streamspace-edge/store"
)

type clusterConfig struct {
	SecretFile string `yaml:"secret_file"` // what edges on separate stores share; empty: each has its store's secrets
}

// Sizes of a cluster's secret, in bytes. The least is the size of the keys that
// come from it; the most tells a wrong file from a secret.
const (
	leastSecret = 32
	mostSecret  = 4096
)

func (c clusterConfig) validate(f *faults) {
	if !f.has("cluster") {
		return
	}
	if c.SecretFile == "" {
		f.add("cluster.secret_file", "is missing; name a file that all edges of the cluster have, or remove cluster")
		return
	}
	if _, err := c.secret(); err != nil {
		f.add("cluster.secret_file", "%s", err)
	}
}

// secret reads the file. White space at its ends does not count, so that edges
// agree whatever wrote it. The error names no part of the secret.
func (c clusterConfig) secret() ([]byte, error) {
	text, err := os.ReadFile(c.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("can't be read: %w", err)
	}
	switch text = bytes.TrimSpace(text); {
	case len(text) < leastSecret:
		return nil, fmt.Errorf("%s has %d bytes, too few for a secret; at least %d, like those of: openssl rand -base64 32", c.SecretFile, len(text), leastSecret)
	case len(text) > mostSecret:
		return nil, fmt.Errorf("%s has %d bytes, too many for a secret; at most %d", c.SecretFile, len(text), mostSecret)
	}
	return text, nil
}

// clusterStore is a Store whose secrets for what clients carry from edge to edge
// come from the cluster's. Log-ins keep the store's own: they name its keys.
type clusterStore struct {
	store.Store
	secret []byte
}

// Secret is 32 bytes, as a Store's.
func (s clusterStore) Secret(ctx context.Context, name string) ([]byte, error) {
	if name != "ticket" && name != "affinity" {
		return s.Store.Secret(ctx, name)
	}
	return hkdf.Key(sha256.New, s.secret, nil, "streamspace cluster\n"+name, sha256.Size)
}
