package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/streamspace-dev/streamspace-edge/balancer"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// obstacle is why the agent can't take the session however empty it is, as a
// phrase to be counted; empty when it can.
func obstacle(a *store.Agent, online bool, s *store.Session) string {
	switch {
	case !online:
		return "offline"
	case a.Draining:
		return "draining"
	case len(a.Runtimes) == 0:
		return "without any runtime"
	case s.Runtime != "" && !slices.ContainsFunc(a.Runtimes, func(r store.Runtime) bool { return r.Name == s.Runtime }):
		return fmt.Sprintf("without runtime %q", s.Runtime)
	case runtimeFor(a, s) == nil:
		return fmt.Sprintf("without endpoint %q", s.Labels[EndpointLabel])
	}
	for key, value := range s.Labels {
		if key == EndpointLabel {
			continue
		}
		if got, ok := a.Labels[key]; !ok || got != value {
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
func runtimeFor(a *store.Agent, s *store.Session) *store.Runtime {
	endpoint, asked := s.Labels[EndpointLabel]
	for i := range a.Runtimes {
		r := &a.Runtimes[i]
		if (s.Runtime == "" || r.Name == s.Runtime) && (!asked || slices.Contains(r.Endpoints, endpoint)) {
			return r
		}
	}
	return nil
}

// endpointTaken tells whether another session has the endpoint that s asks for.
func (m *Manager) endpointTaken(agentID string, s *store.Session) bool {
	endpoint := s.Labels[EndpointLabel]
	if endpoint == "" {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.links[agentID]
	if l == nil {
		return false
	}
	for id, r := range l.reports {
		if id != s.ID && r.Endpoint == endpoint && alive(r.State) {
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

// slotFree tells whether the agent's runtime for s takes one more. used counts the
// agent's sessions by the runtime they asked for; "" got the first.
func slotFree(a *store.Agent, s *store.Session, used map[string]int) bool {
	r := runtimeFor(a, s)
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
	return func(a *store.Agent, there []*store.Session) error {
		if a == nil {
			return unfitError("offline") // it was removed
		}
		if reason := obstacle(a, true, s); reason != "" {
			return unfitError(reason)
		}
		used := map[string]int{}
		endpoint := s.Labels[EndpointLabel]
		for _, other := range there {
			used[other.Runtime]++
			if endpoint != "" && other.Labels[EndpointLabel] == endpoint {
				return unfitError(taken)
			}
		}
		if len(there) >= m.Room(a) || !slotFree(a, s, used) {
			return unfitError("full")
		}
		return nil
	}
}

// choose picks the agent for a session; nil and the reasons when there is none.
// It skips those that refused the session, and those in unfit for the reason
// there. Whether the choice holds is for the Store to say: another edge, or
// another request, may choose the same. The caller calls settled with the
// agent's id when that is over.
func (m *Manager) choose(ctx context.Context, s *store.Session, unfit map[string]string) (*store.Agent, tally, error) {
	agents, err := m.o.Store.Agents(ctx)
	if err != nil {
		return nil, nil, err
	}
	counts, err := m.o.Store.ActiveSessions(ctx)
	if err != nil {
		return nil, nil, err
	}
	why := tally{}
	var candidates []balancer.Candidate
	var able []*store.Agent
	for _, a := range agents {
		used := counts[a.ID]
		c := balancer.Candidate{ID: a.ID, Active: total(used), Capacity: m.Room(a), Weight: m.weight(a)}
		reason := obstacle(a, m.reachable(a.ID), s)
		if _, excepted := s.Refusals.By[a.ID]; reason == "" && excepted {
			reason = refused
		}
		if reason == "" {
			reason = unfit[a.ID]
		}
		if reason == "" && (c.Full() || !slotFree(a, s, used)) {
			reason = "full"
		}
		if reason == "full" && c.Full() && c.Active < a.Capacity {
			why[reserved]++
		}
		if reason == "" && m.endpointTaken(a.ID, s) {
			reason = taken
		}
		if reason != "" {
			why[reason]++
			continue
		}
		candidates, able = append(candidates, c), append(able, a)
	}
	if a := m.pick(candidates, able); a != nil {
		return a, nil, nil
	}
	m.o.Metrics.placements.WithLabelValues(noAgent).Inc()
	return nil, why, nil
}

// pick is the picker's choice. What is being placed at this moment counts as
// load, so that requests which come together do not all choose the same agent,
// but fills nobody: it may be counted twice.
func (m *Manager) pick(candidates []balancer.Candidate, able []*store.Agent) *store.Agent {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range candidates {
		c := &candidates[i]
		c.Active = min(c.Active+m.chosen[c.ID], c.Capacity-1)
	}
	i := m.picker.Pick(candidates, 0)
	if i < 0 {
		return nil
	}
	m.chosen[able[i].ID]++
	return able[i]
}

// settled ends what choose began.
func (m *Manager) settled(agentID string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.chosen[agentID]--; m.chosen[agentID] == 0 {
		delete(m.chosen, agentID)
	}
}

func total(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// replace finds an agent for a pending session that has none, or whose agent
// can't start it. Without one the session waits; the answer is until when.
func (m *Manager) replace(ctx context.Context, s *store.Session) (time.Time, error) {
	m.mu.Lock()
	found := m.foundAt(s.ID)
	m.mu.Unlock()
	if found != "" {
		return time.Now(), m.assign(ctx, s, found, "", nil)
	}
	var agent *store.Agent
	var why tally
	for unfit := map[string]string{}; ; {
		var err error
		if agent, why, err = m.choose(ctx, s, unfit); err != nil {
			return time.Time{}, err
		}
		if agent == nil {
			break
		}
		err = m.assign(ctx, s, agent.ID, "", m.fits(s))
		m.settled(agent.ID)
		var no unfitError
		if !errors.As(err, &no) {
			return time.Now(), err
		}
		unfit[agent.ID] = string(no)
	}
	switch r := s.Refusals; {
	case why[refused] == 0: // nobody has room
	case mayMend(r) && time.Now().Before(r.NotBefore):
		return r.NotBefore, nil
	case mayMend(r):
		return time.Now(), m.forgive(ctx, s)
	case why["full"]+why["offline"]+why["draining"] == 0:
		return time.Now(), m.become(ctx, s, step{to: store.Failed, reason: r.Latest, viewers: tellEnded})
	}
	return time.Now().Add(roomAgain), m.assign(ctx, s, "", why.String(), nil)
}

// assign writes where a pending session is to start, if it fits there.
func (m *Manager) assign(ctx context.Context, s *store.Session, agentID, reason string, fits store.Fits) error {
	change := func(row *store.Session) error {
		if !same(row, s) || (row.AgentID == agentID && row.Reason == reason) {
			return store.ErrUnchanged
		}
		row.AgentID, row.Reason = agentID, reason
		return nil
	}
	_, changed, err := m.changing("", change, func(change func(*store.Session) error) (*store.Session, error) {
		return m.o.Store.PlaceSession(ctx, s.ID, fits, change)
	})
	if err == nil && changed && fits != nil {
		m.o.Metrics.placements.WithLabelValues(placed).Inc()
	}
	return err
}

// foundAt is an agent that has the session already although no edge learnt that
// its start was taken; empty when there is none. m.mu is held.
func (m *Manager) foundAt(id string) string {
	for agentID, l := range m.links {
		if r := l.reports[id]; l.up && r != nil && adoptable(r.State) {
			return agentID
		}
	}
	return ""
}

// mayMend tells whether an agent that refused may start the session later.
func mayMend(r store.Refusals) bool {
	for _, hopeless := range r.By {
		if !hopeless {
			return true
		}
	}
	return false
}

// forgive lets the agents that may start the session later be asked again.
func (m *Manager) forgive(ctx context.Context, s *store.Session) error {
	_, _, err := m.update(ctx, s.ID, func(row *store.Session) error {
		if !same(row, s) {
			return store.ErrUnchanged
		}
		row.Refusals.By = maps.Clone(row.Refusals.By)
		maps.DeleteFunc(row.Refusals.By, func(_ string, hopeless bool) bool { return !hopeless })
		return nil
	})
	return err
}
