package main

import (
	"net"
	"net/netip"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
	"github.com/streamspace-dev/streamspace-edge/store"
)

// crowd bounds the connections that one address has at the public listeners; an
// IPv6 client owns its /64. It holds as many addresses as there are connections.
type crowd struct {
	most    int
	exempt  func(netip.Addr) bool // proxies, whose connections are of many
	refused prometheus.Counter

	mu   sync.Mutex
	here map[netip.Prefix]int
}

func newCrowd(most int, exempt func(netip.Addr) bool, r prometheus.Registerer) *crowd {
	c := &crowd{most: most, exempt: exempt, here: map[netip.Prefix]int{}, refused: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "streamspace_connections_refused_total", Help: "Connections that were closed at once because their address had as many as it may.",
	})}
	r.MustRegister(c.refused)
	return c
}

func (c *crowd) enter(from netip.Prefix) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.here[from] >= c.most {
		return false
	}
	c.here[from]++
	return true
}

func (c *crowd) leave(from netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.here[from]--; c.here[from] <= 0 {
		delete(c.here, from)
	}
}

// crowdListener closes what is too many. Who gets no answer tries again later,
// and an answer would cost what the bound is to save.
type crowdListener struct {
	net.Listener
	crowd *crowd
}

func (l crowdListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		tcp, ok := conn.(*net.TCPConn)
		if err != nil || !ok {
			return conn, err
		}
		addr := addressOf(tcp.RemoteAddr().String()).WithZone("")
		if l.crowd.exempt(addr) {
			return conn, nil
		}
		from := store.ClientNetwork(addr)
		if l.crowd.enter(from) {
			return reactor.Track(tcp, func() { l.crowd.leave(from) }), nil
		}
		l.crowd.refused.Inc()
		_ = tcp.SetLinger(0) // nothing of it stays behind
		_ = tcp.Close()
	}
}
