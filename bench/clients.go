package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// clientPlan is the clients of one measurement of HTTP.
type clientPlan struct {
	Door    door
	Load    load   // byRate or byArrive
	Request string // of all clients, as it is sent
	Body    string // of its answer
	Rate    int    // requests a second of all clients together
	Clients int    // connections at once
}

// clientCounts is what clients got since the last mark.
type clientCounts struct {
	Answers int64
	Took    time.Duration
	Delays  *delays
}

// clients are all those of one measurement.
//
// At a rate each request has its time from the plan, whether answers come or
// not. When the client's answer before comes only later than that, the request
// is sent at once, and its delay counts from its time all the same: a system
// that stops for a moment has stopped for all who would have come meanwhile.
// What a timer of ours is late does not count.
type clients struct {
	plan   clientPlan
	offer  *tls.Config
	all    []*client // at a rate
	asking sync.WaitGroup
	fail   func(error)
	cancel context.CancelFunc
	end    atomic.Pointer[time.Time] // requests of later times are not sent; nil: none is set

	mu     sync.Mutex
	marked time.Time
	delays *delays // of requests whose time is after the mark
}

func newClients(plan clientPlan, fail func(error)) *clients {
	return &clients{plan: plan, offer: tlsOffer(), fail: fail, delays: newDelays()}
}

// client is one connection. One goroutine uses it.
type client struct {
	conn   net.Conn
	reader *bufio.Reader
	answer fasthttp.Response
}

// connect brings in all that stay.
func (c *clients) connect(ctx context.Context) error {
	if c.plan.Load == byArrive {
		return nil
	}
	c.all = make([]*client, c.plan.Clients)
	return inParallel(ctx, defaultStorm, c.plan.Clients, func(ctx context.Context, i int) (err error) {
		c.all[i], err = c.dial(ctx)
		return err
	})
}

func (c *clients) dial(ctx context.Context) (*client, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.plan.Door.Address)
	if err != nil {
		return nil, err
	}
	if c.plan.Door.TLS {
		secure, err := handshake(ctx, conn, c.offer)
		if err != nil {
			_ = conn.Close()
			return nil, err
		}
		conn = secure
	}
	return &client{conn: conn, reader: bufio.NewReader(conn)}, nil
}

// start begins to ask. At a rate, the clients' times are spread evenly.
func (c *clients) start() {
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	began := time.Now()
	interval := time.Duration(float64(time.Second) * float64(c.plan.Clients) / float64(c.plan.Rate))
	for i := range c.plan.Clients {
		c.asking.Go(func() {
			var err error
			if c.plan.Load == byArrive {
				err = c.arrive(ctx)
			} else {
				first := began.Add(interval * time.Duration(i) / time.Duration(c.plan.Clients))
				err = c.ask(ctx, c.all[i], first, interval)
			}
			if err != nil {
				c.fail(fmt.Errorf("client %d: %w", i, err))
			}
		})
	}
}

// arrive comes, asks and leaves, again and again until ctx ends.
func (c *clients) arrive(ctx context.Context) error {
	request := []byte(c.plan.Request)
	for ctx.Err() == nil {
		came := time.Now()
		one, err := c.dial(context.WithoutCancel(ctx)) // who has come gets an answer
		if err != nil {
			return err
		}
		err = one.exchange(request, c.plan.Body)
		_ = one.conn.Close()
		if err != nil {
			return err
		}
		c.answered(came, time.Since(came))
	}
	return nil
}

// ask sends a request at each of its times.
func (c *clients) ask(ctx context.Context, one *client, at time.Time, interval time.Duration) error {
	request := []byte(c.plan.Request)
	for ; ; at = at.Add(interval) {
		from := at
		if wait := time.Until(at); wait > 0 {
			if !sleep(ctx, wait) {
				return nil
			}
			from = time.Now()
		}
		if end := c.end.Load(); end != nil && at.After(*end) {
			return nil
		}
		if err := one.exchange(request, c.plan.Body); err != nil {
			return err
		}
		if one.answer.ConnectionClose() {
			return errors.New("the system closes a connection that was to stay")
		}
		c.answered(at, time.Since(from))
	}
}

func (c *clients) answered(at time.Time, delay time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !at.Before(c.marked) {
		c.delays.add(delay)
	}
}

// exchange sends a request and reads its answer.
func (c *client) exchange(request []byte, body string) error {
	_ = c.conn.SetDeadline(time.Now().Add(slowestDelay))
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	if err := c.answer.Read(c.reader); err != nil {
		return err
	}
	if status := c.answer.StatusCode(); status != fasthttp.StatusOK || string(c.answer.Body()) != body {
		return fmt.Errorf("the answer has status %d and %d bytes; it is not the upstreams'", status, len(c.answer.Body()))
	}
	return nil
}

func (c *clients) mark() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.marked = time.Now()
	c.delays.Reset()
}

func (c *clients) counts() clientCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return clientCounts{Answers: c.delays.TotalCount(), Took: time.Since(c.marked), Delays: &delays{c.delays.Clone()}}
}

// stop ends the asking when all whose time has come have their answer.
func (c *clients) stop() {
	now := time.Now()
	c.end.Store(&now)
	if c.cancel != nil {
		c.cancel()
	}
	c.asking.Wait()
}

// close ends what is still there.
func (c *clients) close() {
	for _, one := range c.all {
		if one != nil {
			_ = one.conn.Close()
		}
	}
	c.stop()
}
