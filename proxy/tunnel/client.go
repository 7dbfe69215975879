package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
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
	Edge     string      // https://HOST[:PORT], or http:// for an edge that has TLS off
	Token    string      // the join token
	AgentKey string      // the secret that pins the agent's id to its host
	TLS      *tls.Config // nil: the system's roots. Not used with http://
	Log      *zap.Logger // nil: none

	// Reactor carries the streams. It is closed after Run has returned. nil: a
	// portable one of the client's own.
	Reactor *reactor.Reactor

	// Hello is read anew at each connect. Its AgentID never changes.
	Hello func() Hello
	// Command takes a command; its error becomes the ack. Commands for one
	// session come one after another, for several at once.
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

// Client is an agent's end of the tunnel to one edge. Safe for concurrent use.
type Client struct {
	o        ClientOptions
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	reports  *reportQueue
	commands *commandQueue
	loops    *reactor.Reactor // Run's
	active   atomic.Int64     // streams that run
	tasks    sync.WaitGroup   // commands, spares and streams; Run waits for them

	leaving  context.Context // ended by Leave
	leave    context.CancelFunc
	bye      chan Bye      // has room for one; the link takes it
	done     chan struct{} // closed when Run returns
	farewell error         // Leave's result; written before done is closed
}

// NewClient makes a client; Run connects it. Report may be called before Run.
func NewClient(o ClientOptions) *Client {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	network := &net.Dialer{Timeout: dialTimeout}
	c := &Client{
		o:       o,
		dial:    network.DialContext,
		reports: newReportQueue(),
		bye:     make(chan Bye, 1),
		done:    make(chan struct{}),
	}
	c.commands = newCommandQueue(o.Command, &c.tasks)
	c.leaving, c.leave = context.WithCancel(context.Background())
	return c
}

// Run keeps a tunnel to the edge until ctx ends or Leave is called, and then
// ends every stream and waits for all that it started. It returns nil after
// Leave, ctx's error, or the edge's *Error when the very first connect is
// refused for a reason that only an operator can mend, or whenever an operator
// has removed the agent. Any other such refusal later on is logged and tried
// again, so that an operator's slip ends no sessions. Run is called once.
func (c *Client) Run(ctx context.Context) error {
	defer close(c.done)
	edge, err := newDialer(c.o, c.dial)
	if err != nil {
		c.farewell = err
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	loops := c.o.Reactor
	if loops == nil {
		loops = reactor.NewPortable(1)
		defer loops.Close()
	}
	c.loops = loops
	defer c.tasks.Wait()
	defer cancel()
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(c.leaving, stop)()

	var retry backoff
	welcomed := false
	for {
		began := time.Now()
		link, err := c.connect(ctx, edge)
		if err == nil {
			welcomed = true
			err = link.serve(ctx)
		}
		switch {
		case ctx.Err() != nil:
			c.farewell = ctx.Err()
			return ctx.Err()
		case c.leaving.Err() != nil:
			if !errors.Is(err, errLeft) {
				c.farewell = err
			}
			return nil
		case !welcomed && isFatal(err), codeOf(err) == CodeAgentRemoved:
			c.farewell = err
			return err
		}
		if time.Since(began) >= stableAfter {
			retry.reset()
		}
		wait := c.waitAfter(err, &retry)
		c.o.Log.Warn("no tunnel to the edge; trying again", zap.String("edge", c.o.Edge), zap.Duration("in", wait), zap.Error(err))
		if !pause(waiting, wait) {
			c.farewell = Errorf(CodeUnavailable, "there is no tunnel to %s at the moment", c.o.Edge)
			return ctx.Err() // nil after Leave
		}
	}
}

// carry hands a stream to the loops.
func (c *Client) carry(ctx context.Context, edge, server net.Conn, log *zap.Logger) {
	c.tasks.Add(1)
	c.active.Add(1)
	startRelay(ctx, c.loops, edge, server, log, func() {
		c.active.Add(-1)
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

func (c *Client) waitAfter(err error, retry *backoff) time.Duration {
	switch {
	case codeOf(err) == CodeSuperseded:
		c.o.Log.Error("another agent runs with this agent's identity; stop one of them, or give it a data folder of its own")
		return longest(supersededBackoff)
	case isFatal(err):
		return longest(lastBackoff)
	default:
		return retry.next()
	}
}

// connect makes a control channel up to its welcome.
func (c *Client) connect(ctx context.Context, edge *dialer) (*link, error) {
	told := c.reports.mark()
	hello := c.o.Hello()
	ws, err := edge.control(ctx, hello.AgentID)
	if err != nil {
		return nil, err
	}
	channel := newChannel(ws)
	defer context.AfterFunc(ctx, channel.abort)()
	welcome, err := greet(channel, hello)
	if err != nil {
		channel.refuse(err)
		return nil, err
	}
	c.reports.forget(told, hello.Sessions)
	c.o.Log.Info("tunnel up", zap.String("edge", c.o.Edge), zap.String("node", welcome.Node), zap.Uint64("generation", welcome.Generation))
	return newLink(c, edge, channel, hello.AgentID, welcome), nil
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

// Report queues the state of a session for the edge. Reports are sent in
// order; of those that wait, the newest of a session takes the place of the
// older, so the queue is never longer than there are sessions.
func (c *Client) Report(r Report) { c.reports.put(r) }

// Leave says b to the edge after all queued reports, waits until the edge has
// taken it, and makes Run return. A connect under way may first come to its
// end. It fails when there is no tunnel, or with ctx; Run returns all the
// same. Run must have been called, and only the first Leave counts.
func (c *Client) Leave(ctx context.Context, b Bye) error {
	select {
	case c.bye <- b:
	default:
	}
	c.leave()
	select {
	case <-c.done:
		return c.farewell
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
