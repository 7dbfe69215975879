package e2e

import (
	"encoding/json"
	"fmt"
	"os"
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
	folder := t.TempDir()
	address, admin := freePort(t), freePort(t)
	file := writeText(t, filepath.Join(folder, "edge.yml"), fmt.Sprintf(
		"listen: {https: %q, http: \"\", admin: %q}\ntls: {self_signed: true}\nstore: {sqlite: {path: %q}}\nredis: {addrs: [%q], password_file: %q}\n",
		address, admin, filepath.Join(folder, "data", "s.db"), server.Addr, writeText(t, filepath.Join(folder, "password"), password+"\n")))
	in := &installation{t: t, URL: "https://" + address, AdminURL: "http://" + admin, process: start(t, "edge", "--config", file)}
	eventually(t, "the edge serves", in.healthy)
	secret, err := os.ReadFile(filepath.Join(folder, "data", "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	in.APIKey = strings.TrimSpace(string(secret))

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
