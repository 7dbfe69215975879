package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

const (
	stableAfter       = time.Minute // a tunnel that lasted this long starts the backoff anew
	supersededBackoff = time.Minute // two agents with one identity: don't throw each other out all day
)

// ClientOptions configure a Client.
type ClientOptions struct {
	// Edges are where the agent begins, and comes back to when no home answers,
	// each https://HOST[:PORT], or http:// for an edge that has TLS off. At least one.
	Edges    []string
	Token    string      // the join token
	AgentKey string      // the secret that pins the agent's id to its host
	TLS      *tls.Config // nil: the system's roots. Not used with http://
	Log      *zap.Logger // nil: none

	// Pinned checks a home that an edge names with a pin (see Home), instead of
	// TLS. nil: such homes are not connected to.
	Pinned func(pin string) *tls.Config

	// Reactor carries the streams. It is closed after Run has returned. nil: a
	// portable one of the client's own.
	Reactor *reactor.Reactor

	// Hello is read anew at each connect. Its AgentID never changes.
	Hello func() Hello
	// Beat is called before a beat is sent, and what it returns with the Lease that
	// the edge answers; not at all, when the edge does not answer. nil: nobody asks.
	Beat func() (answered func(lease time.Duration))
	// Command takes a command; its error becomes the ack. Commands for one
	// session come one after another, for several at once. An id that was taken does
	// not come again, whichever edges send it.
	Command func(ctx context.Context, c Command) error
	// Open connects to the session's VNC server, within openLimit; the client
	// closes what it returns, which is a *WebSocket when the server speaks that. Half-close is passed on to a connection that has
	// CloseWrite.
	Open func(ctx context.Context, o OpenRequest) (net.Conn, error)
	// Greet, unless nil, speaks with the viewer of a stream that Open has opened,
	// before the first byte passes between the viewer and what Open returned. It
	// may read no byte that is meant for that. Its error ends the stream; after
	// greetLimit viewer's deadline passes.
	Greet func(ctx context.Context, o OpenRequest, viewer net.Conn) error
}

// Client is an agent's end of the tunnels to its homes. Safe for concurrent use.
type Client struct {
	o          ClientOptions
	dial       func(ctx context.Context, network, address string) (net.Conn, error)
	outbox     *outbox
	commands   *commandQueue
	loops      *reactor.Reactor // Run's
	tasks      sync.WaitGroup   // commands, spares and streams; Run waits for them
	keeping    sync.WaitGroup   // keepSeed and each keepHome; Run waits for them
	graceTimer *time.Timer

	running context.Context // Run's; ended by fail
	end     context.CancelFunc
	waiting context.Context // ends with running, and with leaving: there is nothing to wait for any more
	leaving context.Context // ended by Leave
	leave   context.CancelFunc

	done     chan struct{} // closed when Run returns
	farewell error         // Leave's result; written before done is closed

	mu       sync.Mutex
	book     homeBook
	welcomed bool    // there has been a tunnel
	failure  error   // that Run returns
	bye      Bye     // Leave's
	partings []error // why each tunnel ended that was there when Leave was called, or came then
}

// NewClient makes a client; Run connects it. Report may be called before Run.
func NewClient(o ClientOptions) *Client {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	network := &net.Dialer{Timeout: dialTimeout}
	c := &Client{
		o:      o,
		dial:   network.DialContext,
		outbox: newOutbox(),
		book:   newHomeBook(),
		done:   make(chan struct{}),
	}
	c.commands = newCommandQueue(o.Command, &c.tasks)
	c.leaving, c.leave = context.WithCancel(context.Background())
	return c
}

// Run keeps tunnels to the agent's homes, or to one of the configured edges that
// names none, until ctx ends or Leave is called, and then ends every stream and
// waits for all that it started. It returns nil after Leave, ctx's error, or the
// edge's *Error when the very first connect is refused for a reason that only an
// operator can mend, or whenever an operator has removed the agent. Any other such
// refusal later on is logged and tried again, so that an operator's slip ends no
// sessions. Run is called once.
func (c *Client) Run(ctx context.Context) error {
	defer close(c.done)
	seeds, err := c.seeds()
	if err != nil {
		c.farewell = err
		return err
	}
	c.loops = c.o.Reactor
	if c.loops == nil {
		c.loops = reactor.NewPortable(1)
		defer c.loops.Close()
	}
	defer c.tasks.Wait()
	c.running, c.end = context.WithCancel(ctx)
	defer c.end()
	var stop context.CancelFunc
	c.waiting, stop = context.WithCancel(c.running)
	defer stop()
	defer context.AfterFunc(c.leaving, stop)()
	c.graceTimer = time.AfterFunc(seedAfter, c.graceEnds)
	defer c.graceTimer.Stop()

	c.keeping.Go(func() { c.keepSeed(seeds) })
	c.keeping.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		c.farewell = ctx.Err()
		return ctx.Err()
	case c.failure != nil:
		c.farewell = c.failure
		return c.failure
	}
	c.farewell = c.parted()
	return nil
}

func (c *Client) seeds() ([]*dialer, error) {
	if len(c.o.Edges) == 0 {
		return nil, Errorf(CodeBadRequest, "the agent has no address of an edge")
	}
	seeds := make([]*dialer, len(c.o.Edges))
	for i, address := range c.o.Edges {
		seed, err := newDialer(Home{URL: address}, c.o, c.dial)
		if err != nil {
			return nil, err
		}
		seeds[i] = seed
	}
	return seeds, nil
}

// fail ends Run with err.
func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure == nil {
		c.failure = err
	}
	c.end()
}

// parted is what came of Leave.
func (c *Client) parted() error {
	if len(c.partings) == 0 {
		return Errorf(CodeUnavailable, "there is no tunnel to an edge at the moment")
	}
	for _, why := range c.partings {
		if !errors.Is(why, errLeft) {
			return why
		}
	}
	return nil
}

// carry hands a stream to the loops.
func (c *Client) carry(l *link, edge, server net.Conn, log *zap.Logger) {
	c.tasks.Add(1)
	c.countStreams(l.node, 1, 0)
	startRelay(l.run, c.loops, edge, server, log, func() {
		c.countStreams(l.node, -1, 0)
		c.tasks.Done()
	})
}

// isFatal tells the refusals that trying again can't mend.
func isFatal(err error) bool {
	switch codeOf(err) {
	case CodeBadRequest, CodeUnauthorized, CodeAgentIDTaken, CodeAgentRemoved:
		return true
	}
	return false
}

func codeOf(err error) Code {
	var coded *Error
	if errors.As(err, &coded) {
		return coded.Code
	}
	return ""
}

// connect makes a tunnel up to its welcome. It gives up before it says hello when
// the tunnel is of no use any more: a hello would end another one to that edge.
func (c *Client) connect(ctx context.Context, node string, edge *dialer) (*link, error) {
	reports, mark := c.outbox.open()
	l, err := c.knock(ctx, node, edge, reports, mark)
	if err == nil {
		if err = c.arrived(l); err != nil {
			l.channel.refuse(errLeft)
		}
	}
	if err != nil {
		reports.close()
		return nil, err
	}
	l.log.Info("tunnel up")
	return l, nil
}

func (c *Client) knock(ctx context.Context, node string, edge *dialer, reports *reportQueue, mark uint64) (*link, error) {
	hello := c.o.Hello()
	hello.Homes = true
	ws, err := edge.control(ctx, hello.AgentID)
	if err != nil {
		return nil, err
	}
	channel := newChannel(ws)
	defer context.AfterFunc(ctx, channel.abort)()
	if !c.needs(node) {
		channel.refuse(errLeft)
		return nil, errReplaced
	}
	welcome, err := greet(channel, hello)
	if err != nil {
		channel.refuse(err)
		return nil, err
	}
	reports.forget(mark, hello.Sessions)
	return newLink(c, edge, channel, hello.AgentID, welcome, reports), nil
}

func greet(c *channel, hello Hello) (Welcome, error) {
	if err := c.transmit(Envelope{Hello: &hello}); err != nil {
		return Welcome{}, err
	}
	// The edge may ask its database before it answers, within admitTimeout.
	ctx, cancel := context.WithTimeout(c.read, admitTimeout+dialTimeout)
	defer cancel()
	message, err := c.receive(ctx)
	if err != nil {
		return Welcome{}, err
	}
	if w := message.Welcome; w != nil && w.Beat > 0 && w.StreamToken != "" {
		return *w, nil
	}
	return Welcome{}, Errorf(CodeBadRequest, "the edge's first control message is not a welcome")
}

// Report queues the state of a session for each edge that there is a tunnel to,
// or for the first that there will be one to. Reports are sent in order; of those
// that wait, the newest of a session takes the place of the older, so no queue is
// longer than there are sessions.
func (c *Client) Report(r Report) { c.outbox.put(r) }

// Leave says b to each edge after all queued reports, waits until they have taken
// it, and makes Run return. When there is no tunnel, a connect under way may first
// come to its end. It fails when there is no tunnel, when one edge has not taken
// it, or with ctx; Run returns all the same. Run must have been called, and only
// the first Leave counts.
func (c *Client) Leave(ctx context.Context, b Bye) error {
	c.mu.Lock()
	if c.leaving.Err() == nil {
		c.bye = b
		c.leave()
		if len(c.book.links) > 0 {
			c.sayBye()
		}
	}
	c.mu.Unlock()
	select {
	case <-c.done:
		return c.farewell
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// sayBye is called with mu held, when there is a tunnel: no connect matters then.
func (c *Client) sayBye() {
	for _, l := range c.book.links {
		l.say(c.bye)
	}
	for _, cancel := range c.book.dialing {
		cancel()
	}
}
