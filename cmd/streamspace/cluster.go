package main

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"

	"github.com/streamspace-dev/streamspace-edge/proxy/websocket"
	"github.com/streamspace-dev/streamspace-edge/store"
)

type clusterConfig struct {
	SecretFile string          `yaml:"secret_file"` // what edges on separate stores share; empty: each has its store's secrets
	URL        string          `yaml:"url"`         // under which the others and agents reach this edge: "https://HOST:PORT"; empty: see peerURL
	CAFile     string          `yaml:"ca_file"`     // PEM roots for edges without a pin; empty: the system's
	Check      peerCheckConfig `yaml:"check"`
}

// Sizes of a cluster's secret, in bytes. The least is the size of the keys that
// come from it; the most tells a wrong file from a secret.
const (
	leastSecret = 32
	mostSecret  = 4096
)

func (c *edgeConfig) validateCluster(f *faults) {
	if f.has("cluster") {
		c.Cluster.check(f)
	}
	if c.clustered() && c.peerURL() == "" {
		f.add("cluster.url", "is missing: where the other edges and agents reach this edge itself, like \"https://10.0.0.11:443\"; a host in listen.https says it, too")
	}
}

func (c clusterConfig) check(f *faults) {
	if c.SecretFile != "" {
		if _, err := c.secret(); err != nil {
			f.add("cluster.secret_file", "%s", err)
		}
	}
	if c.URL != "" {
		checkURL(f, "cluster.url", c.URL)
	}
	if err := (websocket.Trust{CAFile: c.CAFile}).Check(); err != nil {
		f.add("cluster.ca_file", "%s", err)
	}
	if err := c.Check.options().Validate(); err != nil {
		key, text, _ := strings.Cut(err.Error(), ": ")
		f.add("cluster.check."+key, "%s", text)
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
// come from the cluster's. Log-ins and tickets keep the store's own: they name its
// keys and its ledger.
type clusterStore struct {
	store.Store
	secret []byte
}

// Secret is 32 bytes, as a Store's.
func (s clusterStore) Secret(ctx context.Context, name string) ([]byte, error) {
	if name != "affinity" && name != "cluster" {
		return s.Store.Secret(ctx, name)
	}
	return hkdf.Key(sha256.New, s.secret, nil, "streamspace cluster\n"+name, sha256.Size)
}
