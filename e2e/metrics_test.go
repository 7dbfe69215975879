package e2e

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
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

// TestMetricsAreDocumented: docs/metrics.md has exactly the metrics of a
// running edge, with their types and labels.
func TestMetricsAreDocumented(t *testing.T) {
	in := startDev(t, t.TempDir(), "--runtime", "demo")
	in.visit(testContext(t), in.running(nil).ID)
	documented := documentedMetrics(t)
	eventually(t, "the visit is counted", func() error {
		served := in.served()
		for _, name := range slices.Sorted(maps.Keys(served)) {
			if documented[name] != served[name] {
				return fmt.Errorf("%s is served as %q and documented as %q", name, served[name], documented[name])
			}
		}
		for _, name := range slices.Sorted(maps.Keys(documented)) {
			elsewhere := ofBalancer(name, documented[name]) || strings.HasPrefix(name, "streamspace_coord_") || // TestEdgeBalancesPools, TestEdgeWithRedis
				strings.HasPrefix(name, "streamspace_store_") || ofCluster(name) // TestStoreMetricsAreDocumented, TestClusterIsOne
			if _, found := served[name]; !found && !elsewhere {
				return fmt.Errorf("%s is documented and not served", name)
			}
		}
		return nil
	})
}

// ofBalancer tells the metrics that are there only with pools, routes and limits.
func ofBalancer(name, labels string) bool {
	return strings.Contains(labels, "pool") || strings.Contains(labels, "limit") || strings.HasPrefix(name, "streamspace_route_")
}

func ofCluster(name string) bool {
	return strings.HasPrefix(name, "streamspace_cluster_") || strings.HasPrefix(name, "streamspace_hop_")
}

// documentedMetrics is "type label, label" of every row of docs/metrics.md.
func documentedMetrics(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(streamspace_\\w+)` \\| (\\w+) \\| (.*?) ?\\| .+ \\|$").FindAllStringSubmatch(string(text), -1) {
		if _, twice := documented[row[1]]; twice {
			t.Errorf("docs/metrics.md has %s twice", row[1])
		}
		documented[row[1]] = row[2] + " " + strings.ReplaceAll(row[3], "`", "")
	}
	return documented
}

// served is "type label, label" of every metric of ours by its name, as it is
// told to Prometheus.
func (in *installation) served() map[string]string {
	in.t.Helper()
	all := map[string]string{}
	for _, family := range regexp.MustCompile(`(?m)^# TYPE (streamspace_\w+) (\w+)\n\w+(?:\{(.*)\})? `).FindAllStringSubmatch(in.metrics(), -1) {
		var labels []string
		for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(family[3], -1) {
			if label[1] != "le" { // a histogram's own
				labels = append(labels, label[1])
			}
		}
		slices.Sort(labels)
		all[family[1]] = family[2] + " " + strings.Join(labels, ", ")
	}
	return all
}
