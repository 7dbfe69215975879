package balancer

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// TestAnUpgradeWhoseClientIsResetGivesItsPlaceBack: also where the server had an
// earlier answer for it, can't send that, and so never hands the connection over.
func TestAnUpgradeWhoseClientIsResetGivesItsPlaceBack(t *testing.T) {
	asked, reset := make(chan struct{}), make(chan struct{})
	upstream := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		for {
			switch h := head(r); {
			case h == "":
				return
			case strings.HasPrefix(h, "GET /ws "):
				close(asked)
				<-reset
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
				_, _ = io.Copy(io.Discard, r)
				return
			default:
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		}
	})
	e := startEdge(t, onePool(func(p *PoolConfig) { p.Upstreams = []UpstreamConfig{{URL: upstream, MaxConnections: 5}} }))
	conn := e.dial()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	<-asked
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
	close(reset)
	eventually(t, "its place is given back", func() bool { return e.Active() == 0 && e.Pools()[0].Upstreams[0].Active == 0 })
}

// TestWhoLeavesTheQueueIsNotInIt: its place there is for those who still wait.
func TestWhoLeavesTheQueueIsNotInIt(t *testing.T) {
	release := make(chan struct{})
	s := startServer(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	c := onePool(func(p *PoolConfig) { p.Queue = QueueConfig{Size: 1, Timeout: 2 * hang} }, s)
	c.Pools[0].Upstreams[0].MaxConnections = 1
	e := startEdge(t, c)
	first := e.dial()
	defer first.Close()
	fmt.Fprint(first, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	eventually(t, "the upstream is full", func() bool { return e.Pools()[0].Upstreams[0].Active == 1 })
	second := e.dial()
	fmt.Fprint(second, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	eventually(t, "a request waits", func() bool { return e.Pools()[0].Waiting == 1 })
	second.Close()
	eventually(t, "it waits no more", func() bool { return e.Pools()[0].Waiting == 0 && e.Active() == 1 })
}

// TestAPoolThatGoesServesWhoIsInItsQueue: they came while it was there.
func TestAPoolThatGoesServesWhoIsInItsQueue(t *testing.T) {
	release := make(chan struct{})
	s := startServer(t, func(w http.ResponseWriter, _ *http.Request) { <-release })
	c := onePool(func(p *PoolConfig) { p.Queue = QueueConfig{Size: 1, Timeout: 2 * hang} }, s)
	c.Pools[0].Upstreams[0].MaxConnections = 1
	e := startEdge(t, c)
	statuses := make(chan int, 2)
	ask := func() {
		response, err := e.client().Get(e.url("/"))
		if err != nil {
			statuses <- 0
			return
		}
		_ = response.Body.Close()
		statuses <- response.StatusCode
	}
	go ask()
	eventually(t, "the upstream is full", func() bool { return e.Pools()[0].Upstreams[0].Active == 1 })
	go ask()
	eventually(t, "a request waits", func() bool { return e.Pools()[0].Waiting == 1 })
	e.Load(Config{})
	close(release)
	for range 2 {
		if status := <-statuses; status != http.StatusOK {
			t.Errorf("a request was answered with %d", status)
		}
	}
}

// TestAnExpectedBodyKeepsItsWay: through a reload that takes the route away
// between the upstream's word and the body.
func TestAnExpectedBodyKeepsItsWay(t *testing.T) {
	s := startServer(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	e := startEdge(t, onePool(nil, s))
	conn := e.dial()
	defer conn.Close()
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	r := bufio.NewReader(conn)
	if h := head(r); !strings.HasPrefix(h, "HTTP/1.1 100 ") {
		t.Fatal(h)
	}
	e.Load(Config{})
	fmt.Fprint(conn, "ok")
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(response.Body); response.StatusCode != 200 || string(body) != "ok" {
		t.Errorf("%s %q", response.Status, body)
	}
	eventually(t, "it is over", func() bool { return e.Active() == 0 })
}

// TestNothingFollowsARefusedUpgrade: it would be of the protocol that was asked for.
func TestNothingFollowsARefusedUpgrade(t *testing.T) {
	e := startEdge(t, onePool(nil, named(t, "a")))
	if _, err := e.Set("web", e.Pools()[0].Upstreams[0].ID, Disabled, 0); err != nil {
		t.Fatal(err)
	}
	got := e.raw("GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
	if strings.Count(got, "HTTP/1.1 503") != 1 {
		t.Errorf("%s", got)
	}
}

// TestTheLogQuotesNoAnswer: what an upstream sends may hold a cookie.
func TestTheLogQuotesNoAnswer(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	upstream := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		head(r)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nSet-Cookie: sid=of-a-client\r\nno field\r\n\r\n")
		_, _ = io.Copy(io.Discard, r)
	})
	e := startEdge(t, onePool(func(p *PoolConfig) { p.Upstreams = []UpstreamConfig{{URL: upstream}} }), func(o *Options) { o.Log = zap.New(core) })
	get(t, e.client(), e.url("/"))
	refused := func() *observer.ObservedLogs { return logs.FilterMessage("request refused") }
	eventually(t, "the refusal is logged", func() bool { return refused().Len() == 1 })
	if text := fmt.Sprint(refused().All()[0].ContextMap()); strings.Contains(text, "of-a-client") {
		t.Error(text)
	}
}

// TestAnnouncedConnectionsEndWithTheirClient: nobody else may have them.
func TestAnnouncedConnectionsEndWithTheirClient(t *testing.T) {
	upstream := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		_, _ = r.ReadString('\n') // the PROXY header
		for head(r) != "" {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	e := startEdge(t, onePool(func(p *PoolConfig) {
		p.ProxyProtocol = "v1"
		p.Timeouts.Keep = time.Hour
		p.Upstreams = []UpstreamConfig{{URL: upstream}}
	}))
	for range 5 {
		e.raw("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	}
	eventually(t, "none waits", func() bool { return e.links().waiting() == 0 })
}
