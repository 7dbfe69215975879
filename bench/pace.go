package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// pacePlan is clients that ask at a steady rate, whether answers come or not.
type pacePlan struct {
	Door    door
	Request string // of all clients, as it is sent
	Body    string // of its answer
	Rate    int    // requests a second of all clients together
	Clients int    // connections, which take turns
}

// paceCounts is what clients got since the last mark.
type paceCounts struct {
	Answers int64
	Took    time.Duration
	Delays  *delays
}

// pacer is all the clients of one measurement. A request has its time from the
// plan. When the client's answer before comes only later than that, the request
// is sent at once, and its delay counts from its time all the same: a system
// that stops for a moment has stopped for all who would have come meanwhile.
// What a timer of ours is late does not count.
type pacer struct {
	plan    pacePlan
	clients []*client
	asking  sync.WaitGroup
	fail    func(error)
	cancel  context.CancelFunc
	end     atomic.Pointer[time.Time] // requests of later times are not sent; nil: none is set

	mu     sync.Mutex
	marked time.Time
	delays *delays // of requests whose time is after the mark
}

func newPacer(plan pacePlan, fail func(error)) *pacer {
	return &pacer{plan: plan, fail: fail, delays: newDelays()}
}

// client is one connection. One goroutine uses it.
type client struct {
	conn   net.Conn
	reader *bufio.Reader
	answer fasthttp.Response
}

// connect brings all clients in.
func (p *pacer) connect(ctx context.Context) error {
	offer := tlsOffer()
	p.clients = make([]*client, p.plan.Clients)
	return inParallel(ctx, defaultStorm, p.plan.Clients, func(ctx context.Context, i int) error {
		ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
		defer cancel()
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.plan.Door.Address)
		if err != nil {
			return err
		}
		if p.plan.Door.TLS {
			secure, err := handshake(ctx, conn, offer)
			if err != nil {
				_ = conn.Close()
				return err
			}
			conn = secure
		}
		p.clients[i] = &client{conn: conn, reader: bufio.NewReaderSize(conn, readSize)}
		return nil
	})
}

// start begins to ask. The clients' times are spread evenly.
func (p *pacer) start() {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	began := time.Now()
	interval := time.Duration(float64(time.Second) * float64(p.plan.Clients) / float64(p.plan.Rate))
	for i, c := range p.clients {
		first := began.Add(interval * time.Duration(i) / time.Duration(p.plan.Clients))
		p.asking.Go(func() {
			if err := p.ask(ctx, c, first, interval); err != nil {
				p.fail(fmt.Errorf("client %d: %w", i, err))
			}
		})
	}
}

func (p *pacer) ask(ctx context.Context, c *client, at time.Time, interval time.Duration) error {
	request := []byte(p.plan.Request)
	for ; ; at = at.Add(interval) {
		from := at
		if wait := time.Until(at); wait > 0 {
			if !sleep(ctx, wait) {
				return nil
			}
			from = time.Now()
		}
		if end := p.end.Load(); end != nil && at.After(*end) {
			return nil
		}
		if err := c.exchange(request, p.plan.Body); err != nil {
			return err
		}
		p.answered(at, time.Since(from))
	}
}

func (p *pacer) answered(at time.Time, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !at.Before(p.marked) {
		p.delays.add(delay)
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
		return fmt.Errorf("the answer has status %d and %d bytes that are not the upstreams'", status, len(c.answer.Body()))
	}
	if c.answer.ConnectionClose() {
		return errors.New("the connection is to be closed, and clients here keep theirs")
	}
	return nil
}

func (p *pacer) mark() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marked = time.Now()
	p.delays.Reset()
}

func (p *pacer) counts() paceCounts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return paceCounts{Answers: p.delays.TotalCount(), Took: time.Since(p.marked), Delays: &delays{p.delays.Clone()}}
}

// stop ends the asking when all whose time has come have their answer.
func (p *pacer) stop() {
	now := time.Now()
	p.end.Store(&now)
	if p.cancel != nil {
		p.cancel()
	}
	p.asking.Wait()
}

// close ends what is still there.
func (p *pacer) close() {
	for _, c := range p.clients {
		if c != nil {
			_ = c.conn.Close()
		}
	}
	p.stop()
}
