package e2e

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/streamspace-dev/streamspace-edge/e2e/chaos"
)

// gapsWithin are the watcher's that began in a time.
func (w *watcher) gapsWithin(from, to time.Time) (all []chaos.Gap) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, gap := range w.gaps {
		if !gap.From.Before(from) && gap.From.Before(to) {
			all = append(all, gap)
		}
	}
	return all
}

// carriers knows which edges carry, or have carried since it was made, streams for
// viewers of other edges, by the logs of all.
type carriers []carrierLog

type carrierLog struct {
	edge    string
	process *process
	from    int // in its output
}

func (f *fleet) carriers() (all carriers) {
	f.t.Helper()
	for i, in := range f.edges {
		all = append(all, carrierLog{edgeName(i), in.process, len(in.process.output.String())})
	}
	return all
}

// paths tells all ways that a stream of a session at an edge may have gone since.
func (c carriers) paths() func(session, edge, agent string) []streamPath {
	carried := make([]map[string]bool, len(c))
	for i, log := range c {
		carried[i] = log.carried()
	}
	return func(session, edge, agent string) []streamPath {
		all := []streamPath{{edge: edge, agent: agent}}
		for i, log := range c {
			if carried[i][edge+session] {
				all = append(all, streamPath{edge: edge, carrier: log.edge, agent: agent})
			}
		}
		return all
	}
}

// carried are the streams, by edge and session, that it has carried since.
func (l carrierLog) carried() map[string]bool {
	open, carried, at := map[string]int{}, map[string]bool{}, 0
	for line := range strings.Lines(l.process.output.String()) {
		at += len(line)
		_, fields, begins := strings.Cut(line, "a stream for another edge is open")
		if !begins {
			_, fields, _ = strings.Cut(line, "a stream for another edge has ended")
		}
		var stream struct{ From, Session string }
		if json.Unmarshal([]byte(fields), &stream) != nil {
			continue
		}
		of := stream.From + stream.Session
		switch {
		case begins && at > l.from:
			carried[of] = true
		case begins:
			open[of]++
		case at <= l.from:
			open[of]--
		}
	}
	for of, n := range open {
		carried[of] = carried[of] || n > 0
	}
	return carried
}
