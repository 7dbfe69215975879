package e2e

import (
	"strings"
	"testing"
	"time"
)

// TestMetricsThatAreWatched: dashboards and alerts know these by name and type,
// so none may be renamed. With one desktop and one viewer each has something to tell.
func TestMetricsThatAreWatched(t *testing.T) {
	in := startDev(t, t.TempDir(), "--runtime", "demo")
	viewer := in.watching(testContext(t), in.running(nil).ID)
	text := in.metrics()
	for name, kind := range map[string]string{
		"streamspace_api_requests_total":           "counter",
		"streamspace_api_request_duration_seconds": "histogram",
		"streamspace_api_pods_available":           "gauge",
		"streamspace_vnc_connections_active":       "gauge",
		"streamspace_agent_sessions_active":        "gauge",
		"streamspace_agent_heartbeat_last_seen":    "gauge",
	} {
		if !strings.Contains(text, "\n# TYPE "+name+" "+kind+"\n") {
			t.Errorf("there is no %s %s", kind, name)
		}
	}
	for _, name := range []string{"streamspace_api_pods_available", "streamspace_vnc_connections_active", "streamspace_agent_sessions_active"} {
		if n := in.metric(name); n != 1 {
			t.Errorf("%s is %v, want 1", name, n)
		}
	}
	for _, name := range []string{"streamspace_api_requests_total", "streamspace_api_request_duration_seconds_count"} {
		if n := in.metric(name); n < 1 {
			t.Errorf("%s is %v after some requests", name, n)
		}
	}
	if seen := in.metric("streamspace_agent_heartbeat_last_seen"); seen <= 0 || seen > float64(time.Now().Unix()+1) {
		t.Errorf("streamspace_agent_heartbeat_last_seen is %v, not a moment in the past", seen)
	}
	if err := viewer.Close(); err != nil {
		t.Fatal(err)
	}
}
