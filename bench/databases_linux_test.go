package bench

import (
	"strings"
	"testing"
)

func TestDatabasesStartAndLeaveNothing(t *testing.T) {
	d, err := startDatabases(t.Context(), databasePlan{Connections: 40, PgBouncer: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if err := d.alive(); err != nil {
		t.Error(err)
	}
	if config := d.edgeConfig(); !strings.Contains(config, d.postgres) || !strings.Contains(config, "pgbouncer: true") || !strings.Contains(config, d.redis) {
		t.Errorf("the config is %s", config)
	}
	var pids []int
	for _, p := range d.servers {
		pids = append(pids, p.pid())
	}
	used, err := cpuTime(pids)
	if err != nil || len(used) != len(pids) {
		t.Errorf("%v, %v", used, err)
	}
	d.close()
	for _, p := range d.servers {
		if p.alive() == nil {
			t.Errorf("%s is still there", p.name)
		}
	}
	if lines := commandLines(t, d.folder); len(lines) > 0 {
		t.Errorf("still running: %q", lines)
	}
}
