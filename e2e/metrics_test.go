package e2e

import (
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestMetricsAreDocumented: docs/metrics.md has exactly the metrics of a
// running edge, with their types and labels.
func TestMetricsAreDocumented(t *testing.T) {
	in := startDev(t, t.TempDir(), "--runtime", "demo")
	in.visit(testContext(t), in.running(nil).ID)
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(streamspace_\\w+)` \\| (\\w+) \\| (.*?) ?\\| .+ \\|$").FindAllStringSubmatch(string(text), -1) {
		documented[row[1]] = row[2] + " " + strings.ReplaceAll(row[3], "`", "")
	}
	eventually(t, "the visit is counted", func() error {
		served := in.served()
		for _, name := range slices.Sorted(maps.Keys(served)) {
			if documented[name] != served[name] {
				return fmt.Errorf("%s is served as %q and documented as %q", name, served[name], documented[name])
			}
		}
		for _, name := range slices.Sorted(maps.Keys(documented)) {
			if _, found := served[name]; !found {
				return fmt.Errorf("%s is documented and not served", name)
			}
		}
		return nil
	})
}

// served is "type label, label" of every metric of ours by its name, as it is
// told to Prometheus.
func (in *installation) served() map[string]string {
	in.t.Helper()
	response, err := client().Get(in.AdminURL + "/metrics")
	if err != nil {
		in.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		in.t.Fatal(err)
	}
	all := map[string]string{}
	for _, family := range regexp.MustCompile(`(?m)^# TYPE (streamspace_\w+) (\w+)\n\w+(?:\{(.*)\})? `).FindAllStringSubmatch(string(text), -1) {
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
