package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/api"
	"github.com/streamspace-dev/streamspace-edge/api/auth"
	"github.com/streamspace-dev/streamspace-edge/cluster"
	"github.com/streamspace-dev/streamspace-edge/proxy"
	"github.com/streamspace-dev/streamspace-edge/proxy/agent"
	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
	"github.com/streamspace-dev/streamspace-edge/session"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// Here the rooms meet: each function translates what one room says into the
// words of the other.

// storeTimeout bounds a write that a tunnel event causes, so that a stuck
// database can't hold the tunnel for ever.
const storeTimeout = 10 * time.Second

// admitAgent lets an agent in whose join token is good and whose id is its own.
func (e *edge) admitAgent(ctx context.Context, hello tunnel.Hello, token, key string) error {
	caller, err := e.auth.Key(ctx, token)
	switch store.CodeOf(err) {
	case "":
	case store.Unauthorized:
		return tunnel.Errorf(tunnel.CodeUnauthorized, "the join token is not valid; make a new one (POST /api/v1/keys with role agent) and put it into token_file")
	default:
		return err
	}
	if caller.Role != store.RoleAgent {
		return tunnel.Errorf(tunnel.CodeUnauthorized, "the token in token_file is a key with role %q; an agent needs one with role %q", caller.Role, store.RoleAgent)
	}
	agent := agentOf(hello, key)
	agent.LastHeartbeat = e.now()
	_, err = e.store.EnrolAgent(ctx, agent)
	if store.CodeOf(err) == store.Forbidden {
		return tunnel.Errorf(tunnel.CodeAgentIDTaken, "the agent id %s belongs to another host; remove the copied identity.json from this agent's data folder", hello.AgentID)
	}
	return err
}

func agentOf(h tunnel.Hello, key string) *store.Agent {
	runtimes := make([]store.Runtime, len(h.Runtimes))
	for i, r := range h.Runtimes {
		runtimes[i] = store.Runtime(r)
	}
	return &store.Agent{
		ID: h.AgentID, Name: h.Name, KeyHash: auth.HashSecret(key),
		Capacity: h.Capacity, Weight: h.Weight, Labels: h.Labels, Runtimes: runtimes, Version: h.Version,
	}
}

func (e *edge) agentUp(hello tunnel.Hello, generation uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	agent, err := e.store.Agent(ctx, hello.AgentID)
	if err != nil {
		e.log.Error("an agent came up but its record can't be read; it will connect again", zap.String("agent", hello.AgentID), zap.Error(err))
		e.hub.Disconnect(hello.AgentID, tunnel.Errorf(tunnel.CodeTimeout, "the edge's database does not answer"))
		return
	}
	running := make([]session.Observed, len(hello.Sessions))
	for i, r := range hello.Sessions {
		running[i] = observed(r)
	}
	e.sessions.AgentUp(agent, generation, running)
	if e.cluster != nil {
		e.cluster.AgentHere(agent.ID, generation, true)
	}
}

func (e *edge) agentState(agentID string, generation uint64, r tunnel.Report) {
	e.sessions.AgentState(agentID, generation, observed(r))
}

func (e *edge) agentDown(agentID string, generation uint64, why tunnel.Down) {
	if e.cluster != nil {
		e.cluster.AgentHere(agentID, generation, false)
	}
	e.sessions.AgentDown(agentID, generation, why.Reason, why.Bye != nil && why.Bye.Final)
}

func observed(r tunnel.Report) session.Observed {
	return session.Observed{Session: r.Session, State: session.ObservedState(r.State), Reason: r.Reason, Endpoint: r.Endpoint, Lost: r.Lost}
}

func (e *edge) startSession(ctx context.Context, s *store.Session, generation uint64) error {
	err := e.hub.Command(ctx, s.AgentID, generation, tunnel.Command{
		ID: startID(s), Action: tunnel.ActionStart, Session: s.ID, Runtime: s.Runtime, Width: s.Width, Height: s.Height,
		Endpoint: s.Labels[session.EndpointLabel],
	})
	if err == nil || tunnel.Undecided(err) {
		return err
	}
	return &session.Refused{Err: storeError(err)}
}

// startID is the same on every edge that decides by this row: an agent that has
// taken it does not start the session again, even after its end, and one that has
// refused it does not start it later.
func startID(s *store.Session) string {
	return s.ID + "/" + strconv.FormatInt(s.UpdatedAt.UnixMicro(), 10)
}

// anyTunnel is no generation: a stop is true whenever it comes.
const anyTunnel = 0

func (e *edge) stopSession(ctx context.Context, s *store.Session) error {
	return e.hub.Command(ctx, s.AgentID, anyTunnel, tunnel.Command{ID: uuid.NewString(), Action: tunnel.ActionStop, Session: s.ID})
}

// createSession fills in what the config gives every session.
func (e *edge) createSession(ctx context.Context, s *store.Session, idempotencyKey string) (*store.Session, error) {
	if s.IdleTimeout == 0 {
		s.IdleTimeout = e.config.VNC.IdleTimeout.std()
	}
	if s.MaxDuration == 0 {
		s.MaxDuration = e.config.VNC.MaxDuration.std()
	}
	return e.sessions.Create(ctx, s, idempotencyKey)
}

// checkEndpoint says in words why a session may not have an endpoint.
func (e *edge) checkEndpoint(endpoint string) error {
	err := e.direct.Check(endpoint)
	var refused *proxy.Refusal
	if errors.As(err, &refused) {
		return errors.New(refusedWords(refused))
	}
	return err
}

// agentHomes are the nodes that an agent is connected to.
func (e *edge) agentHomes(agentID string) []string {
	if e.cluster != nil {
		homes := []string{}
		for _, n := range e.cluster.Homes(agentID) {
			homes = append(homes, n.ID)
		}
		return homes
	}
	if e.hub.Connected(agentID) {
		return []string{e.config.Node.ID}
	}
	return []string{}
}

func (e *edge) probeEndpoint(ctx context.Context, endpoint string) error {
	conn, err := e.direct.Dial(ctx, endpoint)
	if err != nil {
		return endpointError(endpoint, err)
	}
	return conn.Close()
}

// authorizeViewer turns a ticket into a grant, once.
func (e *edge) authorizeViewer(ctx context.Context, token string) (proxy.Grant, error) {
	ticket, err := e.auth.CheckTicket(token)
	if err != nil {
		return proxy.Grant{}, ticketRefusal(err)
	}
	grant := grantOf(ticket)
	if err := e.hasRoom(ctx, grant); err != nil {
		return proxy.Grant{}, err
	}
	first, err := e.store.UseTicket(ctx, ticket.Ledger, ticket.ID, ticket.Expires)
	switch {
	case err != nil:
		return proxy.Grant{}, refusal(err)
	case !first:
		return proxy.Grant{}, &proxy.Refusal{Reason: proxy.UsedTicket}
	}
	if _, err := e.sessions.Target(ctx, ticket.Session); store.CodeOf(err) == store.NotFound {
		return proxy.Grant{}, refusal(err)
	}
	return grant, nil
}

func grantOf(t auth.Ticket) proxy.Grant {
	return proxy.Grant{
		Session: t.Session, Org: t.Org, Owner: t.Owner, Viewer: t.Viewer,
		Mode: proxy.Mode(t.Mode), Ticket: t.ID, Expires: t.Expires,
	}
}

// hasRoom tells why no further viewer with this grant can be taken now, as a
// *proxy.Refusal; nil when one can. In a cluster it may still be refused later:
// others come at the same time.
func (e *edge) hasRoom(ctx context.Context, g proxy.Grant) error {
	if err := e.viewers.HasRoom(g); err != nil || e.cluster == nil {
		return err
	}
	if err := e.sharedPlaces.room(ctx, g); err != nil {
		return err
	}
	s, err := e.sessions.Target(ctx, g.Session)
	if err != nil {
		return nil // the viewer is told when the session is dialled
	}
	here, elsewhere := s.Endpoint != "", false
	if s.Endpoint == "" {
		here = e.hub.Connected(s.AgentID)
		elsewhere = slices.ContainsFunc(e.cluster.Homes(s.AgentID), func(n cluster.Node) bool { return !n.Self && takesViewers(n) })
	}
	if !e.places.roomFor(here, elsewhere) {
		return &proxy.Refusal{Reason: proxy.LimitReached}
	}
	return nil
}

// notNow tells of the limits that a viewer with this ticket would meet. Of a
// drain it does not: the stream is refused, and the page tries elsewhere.
func (e *edge) notNow(t auth.Ticket) *api.NotNow {
	var r *proxy.Refusal
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	if !errors.As(e.hasRoom(ctx, grantOf(t)), &r) || r.Reason == proxy.NodeDraining {
		return nil
	}
	return &api.NotNow{Code: string(r.Reason), Detail: r.Words(), RetryAfter: proxy.RetryAfter}
}

// dialSession reaches the VNC server of a session: through its agent, or
// straight when the session names an endpoint. Who opens it to control it uses
// it.
func (e *edge) dialSession(ctx context.Context, g proxy.Grant, stream string) (net.Conn, error) {
	s, err := e.sessions.Target(ctx, g.Session)
	if err != nil {
		return nil, refusal(err)
	}
	conn, err := e.dialTarget(ctx, s, g, stream)
	if err != nil {
		return nil, refusal(err)
	}
	if g.Mode == proxy.Control {
		e.sessions.Input(s.ID, time.Now())
	}
	return conn, nil
}

// dialTarget takes the stream's places among those of all edges first.
func (e *edge) dialTarget(ctx context.Context, s *store.Session, g proxy.Grant, stream string) (conn net.Conn, err error) {
	leave := func() {}
	if e.sharedPlaces != nil {
		if leave, err = e.sharedPlaces.enter(ctx, g, stream); err != nil {
			return nil, err
		}
	}
	if s.Endpoint != "" {
		conn, err = e.dialEndpoint(ctx, s.Endpoint)
	} else {
		conn, err = e.dialAgent(ctx, s.AgentID, g.Node, tunnel.OpenRequest{Session: s.ID, Stream: stream, WebSocket: true})
	}
	if err != nil {
		leave()
		return nil, err
	}
	return whenGone(conn, leave), nil
}

// dialAgent is openStream in the proxy's words.
func (e *edge) dialAgent(ctx context.Context, agentID, node string, o tunnel.OpenRequest) (net.Conn, error) {
	w, err := e.openStream(ctx, agentID, node, o)
	if err != nil {
		return nil, err
	}
	server := &proxy.Server{Conn: w.conn, Gone: w.giveBack}
	if framed, ok := w.conn.(*tunnel.WebSocket); ok {
		server.Conn, server.WebSocket = framed.Conn, true
	}
	if w.via != "" {
		server.Ended = func(cause error) proxy.Reason { return e.hopEnded(w.via, cause) }
	}
	return server, nil
}

// dialEndpoint reaches a desktop that has no agent, which every edge does itself.
func (e *edge) dialEndpoint(ctx context.Context, endpoint string) (net.Conn, error) {
	if e.cluster == nil {
		return e.direct.Dial(ctx, endpoint)
	}
	giveBack, err := e.places.carry()
	if err != nil {
		return nil, err
	}
	conn, err := e.direct.Dial(ctx, endpoint)
	if err != nil {
		giveBack()
		return nil, err
	}
	return whenGone(conn, giveBack), nil
}

// whenGone has f called as proxy.Server.Gone, after what conn has there already.
func whenGone(conn net.Conn, f func()) *proxy.Server {
	server, ok := conn.(*proxy.Server)
	if !ok {
		server = &proxy.Server{Conn: conn}
	}
	before := server.Gone
	server.Gone = func() {
		if before != nil {
			before()
		}
		f()
	}
	return server
}

// streamsOf tells of the viewers of a session.
func (e *edge) streamsOf(sessionID string) []api.Stream {
	told := e.viewers.Quality(sessionID)
	streams := make([]api.Stream, len(told))
	for i, q := range told {
		streams[i] = api.Stream{
			ID: q.Stream, Viewer: q.Viewer, Ticket: q.Ticket, Mode: string(q.Mode), Since: q.Since,
			RTT: quantiles(q.RTT), Response: quantiles(q.Response), Gap: quantiles(q.Gap),
			Stalls: q.Stalls, BytesToViewer: q.ToViewer, BytesFromViewer: q.FromViewer,
		}
	}
	return streams
}

func quantiles(s proxy.Spread) *api.Quantiles {
	if s.Count == 0 {
		return nil
	}
	return &api.Quantiles{P50: milliseconds(s.P50), P95: milliseconds(s.P95)}
}

// milliseconds has no more digits than the measurement.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}

func (e *edge) nodes(context.Context) ([]api.Node, error) {
	var known []cluster.Node
	if e.cluster != nil {
		known = e.cluster.Nodes()
	} else {
		known = []cluster.Node{{
			ID: e.config.Node.ID, URL: e.config.Node.Advertise, Version: version,
			Streams: e.viewers.Active(), Draining: e.standsAside(), Healthy: true, ClockOffset: e.clockOffset(),
		}}
	}
	nodes := make([]api.Node, len(known))
	for i, n := range known {
		drained := e.drains.has(n.ID)
		status := "online"
		switch {
		case n.Draining || drained:
			status = "draining"
		case !n.Healthy:
			status = "unreachable"
		}
		nodes[i] = api.Node{
			ID: n.ID, Status: status, Drained: drained, Version: n.Version, Advertise: n.URL, Streams: n.Streams,
			ClockOffset: n.ClockOffset.Seconds(),
		}
	}
	return nodes, nil
}

// node is one of nodes.
func (e *edge) node(ctx context.Context, id string) (n api.Node, there bool) {
	nodes, err := e.nodes(ctx)
	i := slices.IndexFunc(nodes, func(n api.Node) bool { return n.ID == id })
	if err != nil || i < 0 {
		return n, false
	}
	return nodes[i], true
}

// hints tell whoever opens the console what is missing for real work.
func (e *edge) hints(ctx context.Context) []api.Hint {
	agents, err := e.store.Agents(ctx)
	if err != nil {
		return nil // what is wrong with the database is told elsewhere
	}
	online, real := 0, false
	var missing []api.Hint
	for _, a := range agents {
		if e.sessions.AgentStatus(a) == store.AgentOffline {
			continue
		}
		online++
		for _, r := range a.Runtimes {
			real = real || r.Type != agent.TypeDemo
			if r.Missing != "" {
				missing = append(missing, api.Hint{
					Code: "runtime_missing",
					Text: fmt.Sprintf("The agent %s can start no desktop of its runtime %s: %s. Then restart the agent.", a.Name, r.Name, r.Missing),
				})
			}
		}
	}
	switch {
	case online == 0:
		return []api.Hint{{
			Code: "no_agent", Text: "No agent is connected, so no desktop can start. Run one on a desktop host:",
			Command: "streamspace agent --edge URL --token-file join.token",
		}}
	case !real:
		return []api.Hint{{
			Code: "demo_only", Text: "These desktops are the built-in demo. For real ones install TigerVNC on the agent's host, then restart the agent:",
			Command: "apt install tigervnc-standalone-server openbox xterm",
		}}
	}
	return missing
}

// storeError gives an agent's refusal the code by which session decides what to
// do next.
func storeError(err error) *store.Error {
	var t *tunnel.Error
	if !errors.As(err, &t) {
		return &store.Error{Code: store.Internal, Text: err.Error()}
	}
	code := store.Internal
	switch t.Code {
	case tunnel.CodeAgentBusy, tunnel.CodeUnavailable:
		code = store.Unavailable
	case tunnel.CodeNoRoom:
		code = store.NoAgent
	case tunnel.CodeNoRuntime, tunnel.CodeRuntimeMissing, tunnel.CodeVNCPassword: // TigerVNC locks out who tries on
		code = store.Conflict
	case tunnel.CodeBadRequest:
		code = store.Invalid
	}
	return &store.Error{Code: code, Text: t.Text}
}
