package tunnel

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
)

const (
	admitTimeout = 10 * time.Second
	eventQueue   = 1024 // reports that wait for State; the channel is not read while it is full
)

// tunnel is one generation of one agent's tunnel, at the edge.
type tunnel struct {
	hub        *Hub
	agentID    string
	generation uint64
	token      string // credential of its stream connections
	hello      Hello
	log        *zap.Logger
	channel    *channel
	spares     *sparePool
	suspect    chan struct{} // a spare was found dead: look at the others now
	events     chan Report   // an empty session id stands for a beat
	beatQueued atomic.Bool
	reported   chan struct{} // closed when its last callback has returned

	mu   sync.Mutex
	acks map[string]chan *Error // by command id, one for each Command that waits

	rehome   chan struct{} // has room for one: rehomeBy was set
	rehomeBy time.Time     // when the agent's homes are looked at again; zero: not due. Guarded by mu

	// Owned by the channel's reader; read by serve when that has ended.
	streams int
}

// byeError ends the channel of an agent that left on purpose.
type byeError struct{ Bye }

func (e byeError) Error() string { return "the agent left: " + e.Reason }
func (e byeError) Unwrap() error { return errLeft }

// ServeHTTP serves an agent's control channel and blocks while it lasts.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.enter() {
		refuseHTTP(w, h.leaving())
		return
	}
	defer h.serving.Done()
	credentials, refusal := controlCredentials(r)
	if refusal != nil {
		refuseHTTP(w, refusal)
		return
	}
	select {
	case h.handshakes <- struct{}{}:
	default:
		refuseHTTP(w, Errorf(CodeUnavailable, "edge %s has %d agents connecting at once", h.o.Node, maxHandshakes))
		return
	}
	remote := r.RemoteAddr
	if _, adapted := r.Context().(*fasthttp.RequestCtx); adapted {
		w = &upgradeWriter{ResponseWriter: w}
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{ControlProtocol},
		// Agents are not browsers, and a page can't send the credentials above.
		InsecureSkipVerify: true,
	})
	if err != nil {
		<-h.handshakes
		h.o.Log.Debug("an agent's handshake failed", zap.String("remote", remote), zap.Error(err))
		return
	}
	c := newChannel(ws)
	defer context.AfterFunc(h.ctx, c.abort)()
	hello, err := h.admit(c, credentials)
	<-h.handshakes
	if err != nil {
		h.o.Log.Warn("agent refused", zap.String("agent", credentials.agentID), zap.String("remote", remote), zap.Error(err))
		c.refuse(err)
		return
	}
	h.newTunnel(c, hello, remote).serve()
}

// admit receives the hello and asks the edge whether it may come in.
func (h *Hub) admit(c *channel, who credentials) (Hello, error) {
	late := time.AfterFunc(HelloTimeout, func() {
		c.refuse(Errorf(CodeTimeout, "no hello within %v", HelloTimeout))
	})
	message, err := c.receive(c.read)
	if !late.Stop() {
		<-c.ctx.Done()
		err = context.Cause(c.ctx)
	}
	if err != nil {
		return Hello{}, err
	}
	if message.Hello == nil {
		return Hello{}, Errorf(CodeBadRequest, "the first control message is not a hello")
	}
	hello := *message.Hello
	if err := hello.check(who.agentID); err != nil {
		return Hello{}, err
	}
	if h.o.Admit == nil {
		return hello, nil
	}
	ctx, cancel := context.WithTimeout(h.ctx, admitTimeout)
	defer cancel()
	err = h.o.Admit(ctx, hello, who.token, who.key)
	var coded *Error
	if err != nil && !errors.As(err, &coded) {
		h.o.Log.Error("an agent could not be checked", zap.String("agent", who.agentID), zap.Error(err))
		return Hello{}, Errorf(CodeUnavailable, "edge %s can't check agents at the moment", h.o.Node)
	}
	return hello, err
}

func (h *Hub) newTunnel(c *channel, hello Hello, remote string) *tunnel {
	return &tunnel{
		hub:      h,
		agentID:  hello.AgentID,
		token:    rand.Text(),
		hello:    hello,
		log:      h.o.Log.With(zap.String("agent", hello.AgentID), zap.String("name", hello.Name), zap.String("remote", remote)),
		channel:  c,
		spares:   newSparePool(h.o.Metrics.spares),
		suspect:  make(chan struct{}, 1),
		events:   make(chan Report, eventQueue),
		reported: make(chan struct{}),
		acks:     make(map[string]chan *Error),
		rehome:   make(chan struct{}, 1),
	}
}

// serve runs the tunnel from its registration to the return of its last
// callback.
func (t *tunnel) serve() {
	after, refusal := t.hub.register(t)
	if refusal != nil {
		t.channel.refuse(refusal)
		return
	}
	defer t.hub.unregister(t)
	began := time.Now()
	log := t.log.With(zap.Uint64("generation", t.generation))
	log.Info("tunnel up", zap.String("version", t.hello.Version), zap.Int("sessions", len(t.hello.Sessions)))
	metrics := t.hub.o.Metrics
	metrics.agents.Inc()

	var workers sync.WaitGroup
	workers.Go(t.watchStreams)
	workers.Go(func() { t.report(after) })
	stopSpares := context.AfterFunc(t.channel.ctx, t.spares.close)
	homes := t.homes()
	if err := t.channel.transmit(Envelope{Welcome: &Welcome{
		Node: t.hub.o.Node, Generation: t.generation, StreamToken: t.token, Beat: t.hub.o.BeatEvery, Spares: t.hub.o.Spares,
		URL: t.hub.o.URL, Pin: t.hub.o.Pin, Homes: homes,
	}}); err != nil {
		t.channel.end(err)
	}
	if t.knowsHomes() {
		workers.Go(func() { t.tellHomes(homes) })
	}
	t.channel.run(t.hub.o.BeatEvery, t.handle)

	metrics.agents.Dec()
	metrics.streams.Sub(float64(t.streams))
	if stopSpares() {
		t.spares.close()
	}
	log.Info("tunnel down", zap.String("reason", context.Cause(t.channel.ctx).Error()), zap.Duration("lasted", time.Since(began)))
	workers.Wait()
}

// handle takes one message; the channel's reader calls it.
func (t *tunnel) handle(m Envelope) error {
	switch {
	case m.Beat != nil:
		t.hub.o.Metrics.streams.Add(float64(m.Beat.Streams - t.streams))
		t.streams = m.Beat.Streams
		if !t.beatQueued.Swap(true) {
			if err := t.queue(Report{}); err != nil {
				return err
			}
		}
		answer := Beat{Seq: m.Beat.Seq, Streams: m.Beat.Streams}
		if t.hub.o.Lease != nil {
			answer.Lease = t.hub.o.Lease()
		}
		return t.channel.send(t.channel.ctx, Envelope{Beat: &answer})
	case m.Ack != nil:
		t.mu.Lock()
		defer t.mu.Unlock()
		if ack := t.acks[m.Ack.ID]; ack != nil {
			delete(t.acks, m.Ack.ID)
			ack <- m.Ack.Error
		}
		return nil
	case m.State != nil:
		if m.State.Session == "" {
			return Errorf(CodeBadRequest, "a state message without a session")
		}
		return t.queue(*m.State)
	case m.Bye != nil:
		return byeError{*m.Bye}
	default:
		return Errorf(CodeBadRequest, "a control message that only an edge sends")
	}
}

func (t *tunnel) queue(r Report) error {
	select {
	case t.events <- r:
		return nil
	case <-t.channel.ctx.Done():
		return context.Cause(t.channel.ctx)
	}
}

// report makes all of the tunnel's callbacks, in order, once those of the
// generation before have returned.
func (t *tunnel) report(after <-chan struct{}) {
	defer close(t.reported)
	if after != nil {
		<-after
	}
	if t.channel.ctx.Err() != nil {
		return
	}
	o := t.hub.o
	if o.Up != nil {
		o.Up(t.hello, t.generation)
	}
	for ended := false; !ended; {
		select {
		case r := <-t.events:
			t.reportEvent(r)
		case <-t.channel.ctx.Done():
			ended = true
		}
	}
	// What an agent said before it went is still true, unless it is back and
	// its new hello says more.
	for !t.superseded() {
		select {
		case r := <-t.events:
			t.reportEvent(r)
			continue
		default:
		}
		break
	}
	if o.Down != nil {
		o.Down(t.agentID, t.generation, t.down())
	}
}

func (t *tunnel) reportEvent(r Report) {
	o := t.hub.o
	switch {
	case r.Session != "":
		if o.State != nil {
			o.State(t.agentID, t.generation, r)
		}
	default:
		t.beatQueued.Store(false)
		if o.Beat != nil {
			o.Beat(t.agentID, t.generation)
		}
	}
}

func (t *tunnel) superseded() bool {
	var coded *Error
	return errors.As(context.Cause(t.channel.ctx), &coded) && coded.Code == CodeSuperseded
}

// down is why the tunnel has ended, in words that follow "it is away: ".
func (t *tunnel) down() Down {
	why := context.Cause(t.channel.ctx)
	var bye byeError
	var lost lostError
	switch {
	case errors.As(why, &bye):
		return Down{Reason: bye.Reason, Bye: &bye.Bye}
	case errors.Is(why, errLeft):
		return Down{Reason: "it closed the connection"}
	case errors.As(why, &lost):
		return Down{Reason: "the connection to it was lost"}
	default:
		return Down{Reason: why.Error()}
	}
}

// Command sends c to the agent by the tunnel of that generation, or with 0 by any,
// and returns after its ack: nil when the agent has taken it, the agent's own
// *Error, CodeAgentOffline at once without that tunnel or when it ends before the
// ack (the agent may then have taken it or not), or CodeTimeout with ctx. Undecided
// tells these apart from what the agent has refused.
func (h *Hub) Command(ctx context.Context, agentID string, generation uint64, c Command) error {
	t, err := h.live(agentID)
	if err != nil {
		return err
	}
	if generation != 0 && t.generation != generation {
		return offline(agentID)
	}
	ack := make(chan *Error, 1)
	t.mu.Lock()
	if c.ID == "" || t.acks[c.ID] != nil {
		t.mu.Unlock()
		return Errorf(CodeBadRequest, "command id %q is empty or in use", c.ID)
	}
	t.acks[c.ID] = ack
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.acks[c.ID] == ack {
			delete(t.acks, c.ID)
		}
	}()
	if t.channel.send(ctx, Envelope{Command: &c}) == nil {
		select {
		case refusal := <-ack:
			if refusal != nil {
				return refusal
			}
			return nil
		case <-t.channel.ctx.Done():
		case <-ctx.Done():
		}
	}
	if t.channel.ctx.Err() != nil {
		return offline(agentID)
	}
	return Errorf(CodeTimeout, "agent %s did not answer the command in time", agentID)
}
