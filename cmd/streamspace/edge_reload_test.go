package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/streamspace-dev/streamspace-edge/balancer"
)

// TestAReloadTellsWhatChanged, what needs a restart, and when nothing did.
func TestAReloadTellsWhatChanged(t *testing.T) {
	core, logged := observer.New(zap.InfoLevel)
	e := &edge{config: defaultEdgeConfig(), log: zap.New(core), file: filepath.Join(t.TempDir(), "edge.yml")}
	const pool, route = "pools: [{name: web, upstreams: [{url: \"http://a\"}]}]\n", "routes: [{path: /app/, pool: web}]\n"
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(e.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(smallestEdge + pool + route)
	if err := loadConfig(e.file, e.config); err != nil {
		t.Fatal(err)
	}
	e.balancer = balancer.New(balancer.Options{Metrics: balancer.NewMetrics(prometheus.NewRegistry()), Secret: make([]byte, 32)})
	defer func() {
		if err := e.balancer.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	e.balances = e.config.balancerConfig()
	e.balancer.Load(e.balances)
	for _, c := range []struct {
		text, message string
		fields        map[string]any
	}{
		{smallestEdge + pool + route, "nothing in the config has changed", map[string]any{}},
		{smallestEdge + strings.Replace(pool, "http://a", "http://b", 1) + route, "reload: done", map[string]any{"added": []any{"upstream web/b:80"}, "removed": []any{"upstream web/a:80"}}},
		{smallestEdge + strings.Replace(pool, "http://a", "http://b", 1) + route, "nothing in the config has changed", map[string]any{}},
		{smallestEdge + "vnc: {max_streams: 7}\nredis: {addrs: [\"127.0.0.1:1\"]}\n", "need a restart", map[string]any{
			"removed": []any{"pool web", "route /app/"}, "needs_restart": []any{"vnc.max_streams", "redis"}}},
		{smallestEdge + "vnc: {max_streams: 7}\n", "need a restart", map[string]any{"needs_restart": []any{"vnc.max_streams"}}},
	} {
		write(c.text)
		if _, err := e.reload(); err != nil {
			t.Fatal(err)
		}
		line := logged.All()[logged.Len()-1]
		if !strings.Contains(line.Message, c.message) || !reflect.DeepEqual(line.ContextMap(), c.fields) {
			t.Errorf("%q: %q %v; want %q %v", c.text, line.Message, line.ContextMap(), c.message, c.fields)
		}
	}
}

func TestChangedKeysAreNamedAsInTheFile(t *testing.T) {
	before, after := defaultEdgeConfig(), defaultEdgeConfig()
	if keys := changedKeys(before, after); len(keys) > 0 {
		t.Errorf("of equal configs %q", keys)
	}
	after.Listen.HTTPS, after.TLS.HSTS.MaxAge, after.Direct.Allow, after.Redis = ":1", 1, []string{"10.0.0.0/8:5900"}, &redisConfig{}
	if keys, want := changedKeys(before, after), []string{"listen.https", "tls.hsts.max_age", "direct.allow", "redis"}; !slices.Equal(keys, want) {
		t.Errorf("%q, want %q", keys, want)
	}
	before.Redis = &redisConfig{}
	after.Redis.SentinelMaster = "other"
	if keys := changedKeys(before, after); !slices.Contains(keys, "redis.sentinel_master") || slices.Contains(keys, "redis") {
		t.Errorf("%q lacks redis.sentinel_master", keys)
	}
}
