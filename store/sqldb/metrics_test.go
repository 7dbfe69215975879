package sqldb

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestStoreMetricsAreDocumented: docs/metrics.md has exactly the metrics of a
// store on PostgreSQL with a replica, with their types and labels.
func TestStoreMetricsAreDocumented(t *testing.T) {
	registry := prometheus.NewRegistry()
	o := PostgresOptions{Metrics: NewMetrics(registry)}.withDefaults()
	for _, target := range []string{targetPrimary, targetReplica} {
		p, err := o.open(t.Context(), target, "host=127.0.0.1 port=1") // it connects when it is used
		if err != nil {
			t.Fatal(err)
		}
		defer p.pool.Close()
		o.Metrics.watch(p)
	}
	forget := o.Metrics.watchLag(&replica{})
	o.Metrics.watchClock(&clock{})
	served := map[string]string{}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		var labels []string
		for _, l := range f.Metric[0].Label {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		slices.Sort(labels)
		served[f.GetName()] = strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, ", ")
	}
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(streamspace_store_\\w+)` \\| (\\w+) \\| (.*?) ?\\| .+ \\|$").FindAllStringSubmatch(string(text), -1) {
		documented[row[1]] = row[2] + " " + row[3]
	}
	for name, is := range served {
		if documented[name] != is {
			t.Errorf("%s is served as %q and documented as %q", name, is, documented[name])
		}
	}
	for name := range documented {
		if served[name] == "" {
			t.Errorf("%s is documented and not served", name)
		}
	}
	forget()
	if families, err = registry.Gather(); err != nil || len(families) != len(served)-1 {
		t.Errorf("%d metrics are left of %d, %v", len(families), len(served), err)
	}
}
