package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// work is one kind of it, with what it is measured on unless somebody chooses
// otherwise.
type work struct {
	name    string
	about   string
	viewers int
	warmUp  time.Duration
	systems []string
	rates   rates
	visit   visit // of HTTP
	metrics []metric
}

// metric is a value that a measurement yields.
type metric struct {
	key, label, unit string
	more             bool // more is better
}

// The keys of metrics.
const (
	keyPerGB     = "cpu_s_per_gb"
	keyThrough   = "gb_per_s"
	keyCores     = "cores"
	keyP50       = "p50_us"
	keyP99       = "p99_us"
	keyMax       = "max_us"
	keyMemory    = "kib_per_viewer"
	keyAccepted  = "accepted_per_s"
	keyPerCPU    = "accepted_per_cpu_s"
	keyUpdates   = "updates_per_s"
	keyStartMiB  = "pss_start_mib"
	keyMiddleMiB = "pss_middle_mib"
	keyFiles     = "fd_growth"
	keyRoutines  = "goroutine_growth"
	keyEndMiB    = "pss_end_mib"

	// What hold is judged by besides.
	keyPlateauMiB    = "pss_plateau_mib"
	keyStartFiles    = "fd_start"
	keyEndFiles      = "fd_end"
	keyStartRoutines = "goroutines_start"
	keyEndRoutines   = "goroutines_end"

	stormPerSec  = 1600 // viewers of a storm for each second of duration: about what HAProxy takes on two cores
	defaultStorm = 32   // viewers of a storm that come at once
)

// relayComparison is that of what carries viewers' streams.
func relayComparison() comparison {
	return comparison{
		name: "relay", title: "The relay beside its peers", how: howRelay,
		systems: relaySystems(), works: relayWorks(), defaults: []string{workBulk, workEcho, workDesktop, workIdle, workStorm}, goals: relayGoals(),
		check: checkViewers, measure: measureRelay,
	}
}

func relayWorks() []work {
	perGB := metric{key: keyPerGB, label: "CPU", unit: "s/GB"}
	cores := metric{key: keyCores, label: "CPU", unit: "cores"}
	p50 := metric{key: keyP50, label: "p50", unit: "µs"}
	p99 := metric{key: keyP99, label: "p99", unit: "µs"}
	slowest := metric{key: keyMax, label: "max", unit: "µs"}
	kib := metric{key: keyMemory, label: "memory", unit: "KiB/viewer"}
	return []work{
		{
			name: workBulk, about: "4 viewers; the VNC servers send updates of 64 KiB as fast as they go",
			viewers: 4, warmUp: time.Second,
			systems: systemNames(relaySystems()),
			metrics: []metric{perGB, {key: keyThrough, label: "speed", unit: "GB/s", more: true}},
		},
		{
			name: workEcho, about: "20 viewers type 50 keys a second each; each key is answered by an update of 500 bytes",
			viewers: 20, warmUp: time.Second,
			systems: []string{edge, edgeAgent, haproxy, nginx, haproxyWebsockify},
			metrics: []metric{p50, p99, slowest, cores},
		},
		{
			name: workDesktop, about: "1,000 desktops of 10 to 50 KB/s each, in bursts of updates of 0.2 to 20 KB, with some input",
			viewers: 1000, warmUp: 3 * time.Second,
			systems: []string{edge, edgeAgent, haproxy, nginx, haproxyWebsockify, nginxWebsockify},
			rates:   rates{10_000, 50_000},
			metrics: []metric{perGB, cores, {key: keyUpdates, label: "updates", unit: "/s", more: true}, p50, p99},
		},
		{
			name: workIdle, about: "1,000 viewers after the RFB hello; nothing moves",
			viewers: 1000,
			systems: []string{edge, edgeAgent, haproxy, nginx},
			metrics: []metric{kib},
		},
		{
			name: workStorm, about: "viewers come (TCP, TLS, upgrade, RFB hello) and go, 32 at once",
			systems: []string{edge, haproxy, nginx},
			metrics: []metric{{key: keyPerCPU, label: "accepted", unit: "/CPU s", more: true}, {key: keyAccepted, label: "accepted", unit: "/s", more: true}, p50, p99},
		},
		{
			name: workHold, about: "8,000 viewers held at once, with desktop traffic of 1 to 4 KB/s each",
			viewers: 8000, warmUp: 5 * time.Second,
			systems: []string{edge},
			rates:   rates{1_000, 4_000},
			metrics: []metric{
				cores, {key: keyStartMiB, label: "memory at the start", unit: "MiB"}, {key: keyMiddleMiB, label: "in the middle", unit: "MiB"},
				{key: keyEndMiB, label: "at the end", unit: "MiB"}, {key: keyFiles, label: "growth", unit: "files"}, {key: keyRoutines, label: "growth", unit: "goroutines"}, p50, p99,
			},
		},
	}
}

func (c comparison) chooseWorks(names []string) ([]work, error) {
	if len(names) == 0 {
		names = c.defaults
	}
	all := c.works
	var chosen []work
	for _, name := range names {
		i := slices.IndexFunc(all, func(w work) bool { return w.name == name })
		if i < 0 {
			var known []string
			for _, w := range all {
				known = append(known, w.name)
			}
			return nil, &UsageError{fmt.Sprintf("--work: there is no work %q; there are %s", name, strings.Join(known, ", "))}
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}
