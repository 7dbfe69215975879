package session

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/streamspace-dev/streamspace-edge/balancer"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// demand is what a session asks of its agent, made ready to be asked of many.
type demand struct {
	*store.Session
	endpoint string // of EndpointLabel
	byName   bool   // endpoint was asked for
	labels   []label
	without  struct{ runtime, endpoint string } // the words for agents that lack what was asked for
}

type label struct{ key, value string }

func demandOf(s *store.Session) *demand {
	d := &demand{Session: s}
	if s.Runtime != "" {
		d.without.runtime = fmt.Sprintf("without runtime %q", s.Runtime)
	}
	if len(s.Labels) == 0 {
		return d
	}
	if d.endpoint, d.byName = s.Labels[EndpointLabel]; d.byName {
		d.without.endpoint = fmt.Sprintf("without endpoint %q", d.endpoint)
	}
	d.labels = make([]label, 0, len(s.Labels))
	for key, value := range s.Labels {
		if key != EndpointLabel {
			d.labels = append(d.labels, label{key, value})
		}
	}
	return d
}

// obstacle is why the agent can't take the session however empty it is, as a
// phrase to be counted; empty when it can.
func obstacle(a *store.Agent, online bool, d *demand) string {
	switch {
	case !online:
		return "offline"
	case a.Draining:
		return "draining"
	case len(a.Runtimes) == 0:
		return "without any runtime"
	case runtimeFor(a, d) == nil:
		if d.Runtime != "" && !slices.ContainsFunc(a.Runtimes, func(r store.Runtime) bool { return r.Name == d.Runtime }) {
			return d.without.runtime
		}
		return d.without.endpoint
	}
	for _, l := range d.labels {
		if got, ok := a.Labels[l.key]; !ok || got != l.value {
			return "without the labels asked for"
		}
	}
	return ""
}

// EndpointLabel asks for a VNC server that exists already, by its name: an agent
// carries it when one of its runtimes has that endpoint.
const EndpointLabel = "endpoint"

// runtimeFor is the runtime that the session gets from the agent: the first
// that is what it asked for; nil when there is none.
func runtimeFor(a *store.Agent, d *demand) *store.Runtime {
	for i := range a.Runtimes {
		r := &a.Runtimes[i]
		if (d.Runtime == "" || r.Name == d.Runtime) && (!d.byName || slices.Contains(r.Endpoints, d.endpoint)) {
			return r
		}
	}
	return nil
}

// endpointTaken tells whether another session has the endpoint that is asked for.
// m.mu is held.
func (m *Manager) endpointTaken(agentID string, d *demand) bool {
	if d.endpoint == "" {
		return false
	}
	l := m.links[agentID]
	if l == nil {
		return false
	}
	for id, r := range l.reports {
		if id != d.ID && r.Endpoint == d.endpoint && alive(r.State) {
			return true
		}
	}
	return false
}

// Room is how many sessions the agent may have: its capacity less the headroom,
// but at least one.
func (m *Manager) Room(a *store.Agent) int {
	const epsilon = 1e-9 // 10 * (1 - 0.9) is a little less than 1
	return max(1, int(math.Floor(float64(a.Capacity)*(1-m.o.Headroom)+epsilon)))
}

// weight is a's for the picker. Under round_robin agents take plain turns: which
// of them a session may go to differs from one to the next, and turns by weight
// are counted among the same ones only.
func (m *Manager) weight(a *store.Agent) int {
	if m.o.Strategy == string(balancer.RoundRobin) {
		return 1
	}
	return a.Weight
}

// slotFree tells whether the agent's runtime for the session takes one more. used counts the
// agent's sessions by the runtime they asked for; "" got the first.
func slotFree(a *store.Agent, d *demand, used map[string]int) bool {
	r := runtimeFor(a, d)
	if r.Slots == 0 {
		return true
	}
	n := used[r.Name]
	if r.Name == a.Runtimes[0].Name {
		n += used[""]
	}
	return n < r.Slots
}

// taken is the reason of an agent whose endpoint that was asked for has a
// session already.
const taken = "another session has the endpoint asked for"

// reserved counts those of the full agents that are so by the headroom alone.
const reserved = "full but for the headroom"

// tally counts agents by why they can't take a session.
type tally map[string]int

func (t tally) String() string {
	var words []string
	advice := "bring one back or add one that fits"
	for _, why := range []string{"full", "offline", "draining"} {
		if t[why] > 0 {
			words = append(words, fmt.Sprintf("%d %s", t[why], why))
		}
		if why == "full" && t[reserved] > 0 {
			words[0] += fmt.Sprintf(" (agents.headroom keeps the rest of %d free)", t[reserved])
		}
	}
	switch {
	case t[reserved] > 0:
		advice = "add an agent, stop a session or lower agents.headroom"
	case t["full"] > 0:
		advice = "add an agent or stop a session"
	}
	for why, n := range t {
		if strings.HasPrefix(why, "without") {
			words = append(words, fmt.Sprintf("%d %s", n, why))
		}
	}
	if t[taken] > 0 {
		words, advice = append(words, taken), "stop that session"
	}
	if t[refused] > 0 {
		words = append(words, fmt.Sprintf("%d refused it", t[refused]))
	}
	if len(words) == 0 {
		return "no agent can take this session: none has joined; start one with `streamspace agent`"
	}
	return "no agent can take this session: " + strings.Join(words, ", ") + "; " + advice
}

// unfitError says of a chosen agent why the session can't be there after all:
// somebody else was quicker.
type unfitError string

func (e unfitError) Error() string { return "the chosen agent is " + string(e) }

// fits is the Store's question about the agent that was chosen for s.
func (m *Manager) fits(s *store.Session) store.Fits {
	d := demandOf(s)
	return func(a *store.Agent, there []*store.Session) error {
		if a == nil {
			return unfitError("offline") // it was removed
		}
		if reason := obstacle(a, true, d); reason != "" {
			return unfitError(reason)
		}
		used := map[string]int{}
		for _, other := range there {
			used[other.Runtime]++
			if d.endpoint != "" && other.Labels[EndpointLabel] == d.endpoint {
				return unfitError(taken)
			}
		}
		if len(there) >= m.Room(a) || !slotFree(a, d, used) {
			return unfitError("full")
		}
		return nil
	}
}
