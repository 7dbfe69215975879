package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/streamspace-dev/streamspace-edge/store/redis/redistest"
)

// TestEdgeWithRedis: an edge says how it stands with Redis, goes on without it,
// finds it again, and never writes the password down.
func TestEdgeWithRedis(t *testing.T) {
	const password = "not-to-be-told"
	server := redistest.Start(t, "requirepass "+password)
	in := startEdge(t, fmt.Sprintf("redis: {addrs: [%q], password_file: %q}\n",
		server.Addr, writeText(t, filepath.Join(t.TempDir(), "password"), password+"\n")))

	becomes := func(redis, status string, connected float64) {
		t.Helper()
		eventually(t, "Redis is "+redis, func() error {
			var health struct{ Redis, Status string }
			code, answer, err := in.try("GET", "/health", nil, nil)
			if err != nil {
				return err
			}
			if err := json.Unmarshal(answer, &health); err != nil {
				return err
			}
			if code != 200 || health.Redis != redis || health.Status != status || in.metric("streamspace_coord_connected") != connected {
				return fmt.Errorf("%d %s", code, answer)
			}
			return nil
		})
	}
	becomes("connected", "healthy", 1)
	server.Kill()
	becomes("disconnected", "degraded", 0)
	in.call("GET", "/api/v1/sessions", nil, 200, nil)
	server.Run()
	becomes("connected", "healthy", 1)

	documented, served := documentedMetrics(t), in.served()
	for name, what := range documented {
		if strings.HasPrefix(name, "streamspace_coord_") && served[name] != what {
			t.Errorf("%s is documented as %q and served as %q", name, what, served[name])
		}
	}
	for name, what := range served {
		if documented[name] != what {
			t.Errorf("%s is served as %q and documented as %q", name, what, documented[name])
		}
	}
	in.process.stop()
	if strings.Contains(in.process.output.String(), password) {
		t.Error("the log has the password")
	}
}
