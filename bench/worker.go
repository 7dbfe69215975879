package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// A worker is told on its standard input what to do, and answers each order on
// its standard output: a JSON value each. The end of the input ends it.

// The kinds of worker.
const (
	RoleServers = "servers"
	RoleViewers = "viewers"
	RoleClients = "clients" // of HTTP
)

// order is what a worker is to do.
type order struct {
	Do      string
	Servers *serverPlan `json:",omitempty"` // with doBegin
	Viewers *fleetPlan  `json:",omitempty"` // with doBegin
	Clients *clientPlan `json:",omitempty"` // with doBegin
}

const (
	doBegin = "begin" // servers listen, viewers and clients connect
	doStart = "start" // the traffic
	doMark  = "mark"  // count from here
	doCount = "count"
	doStop  = "stop"  // the traffic, with the check that all came
	doStorm = "storm" // instead of begin
)

// answer is what came of an order. Error is also that of anything that went
// wrong before.
type answer struct {
	Error     string        `json:",omitempty"`
	Addresses []string      `json:",omitempty"` // servers' begin
	Servers   *serverCounts `json:",omitempty"`
	Viewers   *fleetCounts  `json:",omitempty"`
	Clients   *clientCounts `json:",omitempty"`
	Took      time.Duration `json:",omitempty"` // storm
}

// Work is the process of a load generator: role is one of the above.
// It returns when orders end or ctx does; orders must then be closed by the
// caller's end of the process.
func Work(ctx context.Context, role string, orders io.Reader, answers io.Writer) error {
	w := &worker{}
	defer w.close()
	in, out := json.NewDecoder(orders), json.NewEncoder(answers)
	for ctx.Err() == nil {
		var o order
		if err := in.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("an order can't be read: %w", err)
		}
		a, err := w.obey(ctx, role, o)
		if first := w.failed(); first != nil {
			err = first
		}
		if err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
	return nil
}

type worker struct {
	servers *vncServer
	viewers *fleet
	clients *clients

	mu    sync.Mutex
	first error // that broke a connection
}

func (w *worker) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first == nil {
		w.first = err
	}
}

func (w *worker) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.first
}

func (w *worker) close() {
	if w.viewers != nil {
		w.viewers.close()
	}
	if w.clients != nil {
		w.clients.close()
	}
	if w.servers != nil {
		w.servers.close()
	}
}

func (w *worker) obey(ctx context.Context, role string, o order) (a answer, err error) {
	switch role {
	case RoleServers:
		return w.serve(o)
	case RoleClients:
		return w.ask(ctx, o)
	}
	if o.Viewers != nil {
		w.viewers = newFleet(*o.Viewers, w.fail)
	}
	if w.viewers == nil {
		return a, fmt.Errorf("the first order must tell the viewers' plan, not %q", o.Do)
	}
	switch o.Do {
	case doBegin:
		err = w.viewers.connect(ctx)
	case doStart:
		err = w.viewers.start()
	case doMark:
		w.viewers.mark()
	case doCount:
	case doStop:
		err = w.viewers.stop()
	case doStorm:
		a.Took, err = w.viewers.storm(ctx)
	default:
		err = fmt.Errorf("viewers know no order %q", o.Do)
	}
	counts := w.viewers.counts()
	a.Viewers = &counts
	return a, err
}

func (w *worker) serve(o order) (a answer, err error) {
	switch {
	case o.Do == doBegin && o.Servers != nil:
		if w.servers, err = startVNCServer(*o.Servers, w.fail); err == nil {
			a.Addresses = w.servers.addresses()
		}
	case o.Do == doCount && w.servers != nil:
		counts := w.servers.counts()
		a.Servers = &counts
	default:
		err = fmt.Errorf("servers know no order %q now", o.Do)
	}
	return a, err
}

func (w *worker) ask(ctx context.Context, o order) (a answer, err error) {
	if o.Clients != nil {
		w.clients = newClients(*o.Clients, w.fail)
	}
	if w.clients == nil {
		return a, fmt.Errorf("the first order must tell the clients' plan, not %q", o.Do)
	}
	switch o.Do {
	case doBegin:
		err = w.clients.connect(ctx)
	case doStart:
		w.clients.start()
	case doMark:
		w.clients.mark()
	case doCount:
	case doStop:
		w.clients.stop()
	default:
		err = fmt.Errorf("clients know no order %q", o.Do)
	}
	counts := w.clients.counts()
	a.Clients = &counts
	return a, err
}
