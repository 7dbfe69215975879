package tunnel

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// testCluster is several edges that tell an agent the same homes.
type testCluster struct {
	t     testing.TB
	nodes map[string]*testNode

	mu   sync.Mutex
	view []Home
}

// testNode is an edge with TLS of its own key, behind a gate of its own.
type testNode struct {
	*testEdge
	gate *gate
	home Home
}

// newCluster starts one edge for each name. All of them are homes first.
func newCluster(t testing.TB, names ...string) *testCluster {
	return newClusterWith(t, func(Home, *HubOptions) {}, names...)
}

func newClusterWith(t testing.TB, option func(home Home, o *HubOptions), names ...string) *testCluster {
	c := &testCluster{t: t, nodes: map[string]*testNode{}}
	for _, name := range names {
		certificate, _ := selfSigned(t)
		leaf, err := x509.ParseCertificate(certificate.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		listener := listen(t)
		n := &testNode{gate: newGate(t, "https://"+listener.Addr().String())}
		n.home = Home{Node: name, URL: "https://" + n.gate.address, Pin: pinOf(leaf)}
		n.testEdge = serveEdge(t, listener, &tls.Config{Certificates: []tls.Certificate{certificate}}, func(o *HubOptions) {
			o.Node, o.Homes = name, c.homes
			option(n.home, o)
		})
		c.nodes[name] = n
	}
	c.homesAre(names...)
	return c
}

func (c *testCluster) homes(string) []Home {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.view)
}

// homesAre changes what the edges think; they tell it at the next Rehome.
func (c *testCluster) homesAre(names ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.view = nil
	for _, name := range names {
		c.view = append(c.view, c.nodes[name].home)
	}
}

// tellFirst has the edges name these, whatever they are, before the homes.
func (c *testCluster) tellFirst(homes ...Home) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.view = append(homes, c.view...)
}

func (c *testCluster) rehome() {
	for _, n := range c.nodes {
		n.hub.Rehome(0)
	}
}

// options are an agent's whose seeds are these nodes' own addresses.
func (c *testCluster) options(seeds ...string) ClientOptions {
	o := agentOptions(c.nodes[seeds[0]].testEdge)
	o.Edges = nil
	for _, name := range seeds {
		o.Edges = append(o.Edges, c.nodes[name].home.URL)
	}
	o.TLS = &tls.Config{InsecureSkipVerify: true}
	o.Pinned = pinned
	o.Open = vncServer(c.t, echoServer)
	return o
}

func pinned(pin string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		if subtle.ConstantTimeCompare([]byte(pinOf(s.PeerCertificates[0])), []byte(pin)) != 1 {
			return fmt.Errorf("another key than %s", pin)
		}
		return nil
	}}
}

func pinOf(c *x509.Certificate) string {
	hash := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(hash[:])
}

// quiet fails when the node has had a callback besides beats.
func (n *testNode) quiet() {
	n.t.Helper()
	for {
		select {
		case h := <-n.events:
			if h.kind != "beat" {
				n.t.Fatalf("callback %s (%+v)", h.kind, h)
			}
		default:
			return
		}
	}
}

// gate stands before an edge, so that the edge can be as if killed, or out of
// reach, and come back at the same address.
type gate struct {
	t       testing.TB
	address string
	edges   []string // taken in turn
	serving sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil: shut
	conns    map[net.Conn]struct{}
	held     chan struct{} // closed: what comes goes on; until then it waits
	came     chan struct{} // one for each connection
	count    int
}

func newGate(t testing.TB, urls ...string) *gate {
	g := &gate{t: t, address: "127.0.0.1:0", conns: map[net.Conn]struct{}{}, held: make(chan struct{}), came: make(chan struct{}, 1000)}
	close(g.held)
	for _, url := range urls {
		_, host, _ := strings.Cut(url, "://")
		g.edges = append(g.edges, host)
	}
	g.open()
	t.Cleanup(func() {
		g.shut()
		g.serving.Wait()
	})
	return g
}

func (g *gate) open() {
	g.t.Helper()
	listener, err := net.Listen("tcp", g.address)
	if err != nil {
		g.t.Fatal(err)
	}
	g.address = listener.Addr().String()
	g.mu.Lock()
	g.listener = listener
	g.mu.Unlock()
	g.serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			g.serving.Go(func() { g.serve(conn) })
		}
	})
}

// shut cuts all that passes and refuses what comes.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listener != nil {
		_ = g.listener.Close()
	}
	g.listener = nil
	for conn := range g.conns {
		_ = conn.Close()
	}
}

// hold lets connections come and go nowhere, until the function is called.
func (g *gate) hold() (release func()) {
	held := make(chan struct{})
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = held
	return sync.OnceFunc(func() { close(held) })
}

func (g *gate) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	if !g.add(conn) {
		return
	}
	defer g.remove(conn)
	g.mu.Lock()
	held, edge := g.held, g.edges[g.count%len(g.edges)]
	g.count++
	g.mu.Unlock()
	g.came <- struct{}{}
	<-held
	far, err := net.Dial("tcp", edge)
	if err != nil {
		return
	}
	defer func() { _ = far.Close() }()
	if !g.add(far) {
		return
	}
	defer g.remove(far)
	back := make(chan struct{})
	go func() {
		defer close(back)
		copyAndClose(conn, far)
	}()
	copyAndClose(far, conn)
	<-back
}

// copyAndClose passes an end of the bytes on as an end of both connections: the
// agent and the edge of these tests half-close nothing.
func copyAndClose(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
	_ = from.Close()
}

func (g *gate) add(conn net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns[conn] = struct{}{}
	return g.listener != nil
}

func (g *gate) remove(conn net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, conn)
}

// passes waits until a connection has come to the gate.
func (g *gate) passes() {
	g.t.Helper()
	select {
	case <-g.came:
	case <-time.After(hang):
		g.t.Fatal("no connection came")
	}
}
