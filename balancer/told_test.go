package balancer

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestTheLogTellsWhyAnUpstreamChanged: loudly where it is for the worse.
func TestTheLogTellsWhyAnUpstreamChanged(t *testing.T) {
	s := startServer(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	core, logs := observer.New(zap.InfoLevel)
	c := onePool(func(p *PoolConfig) {
		p.Passive = PassiveConfig{Failures: 2, MaxOut: 1}
		p.Upstreams = []UpstreamConfig{{ID: "u", URL: s.URL}}
	})
	checked := PoolConfig{Name: "checked", Upstreams: []UpstreamConfig{{ID: "v", URL: s.URL}}, Health: HealthConfig{Path: "/", Interval: 20 * time.Millisecond}}
	c.Pools = append(c.Pools, checked)
	e := startEdge(t, c, func(o *Options) { o.Log = zap.New(core) })
	for range 2 {
		get(t, e.client(), e.url("/"))
	}
	if _, err := e.Set("web", "u", Disabled, 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a failed check is told", func() bool {
		return logs.FilterMessage("upstream changed").FilterField(zap.String("to", "down")).Len() > 0
	})
	got := map[string]string{}
	for _, line := range logs.FilterMessage("upstream changed").All() {
		got[fmt.Sprint(line.ContextMap()["to"])] = fmt.Sprint(line.Level, " ", line.ContextMap()["reason"])
	}
	for to, want := range map[string]string{"ejected": "warn it failed 2 requests in a row", "disabled": "info an operator said so", "down": "warn "} {
		if !strings.HasPrefix(got[to], want) || strings.HasSuffix(got[to], " <nil>") || got[to] == "warn " {
			t.Errorf("%s: %q, want %q", to, got[to], want)
		}
	}
}

// TestARefusalTellsWhatKindOfFailureItWas: and nothing of where the upstream is.
func TestARefusalTellsWhatKindOfFailureItWas(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
	secure.StartTLS()
	t.Cleanup(secure.Close)
	plain := startServer(t, func(http.ResponseWriter, *http.Request) {})
	for url, want := range map[string]string{
		"http://" + closed.Addr().String():                   "the upstream can't be reached",
		"http://no-such-host.invalid:80":                     "the upstream can't be reached",
		secure.URL:                                           "the upstream's certificate is not trusted",
		strings.Replace(plain.URL, "http://", "https://", 1): "can't agree on TLS",
		rawServer(t, func(net.Conn, *bufio.Reader) {}):       "the upstream gave no valid answer",
	} {
		e := startEdge(t, onePool(func(p *PoolConfig) { p.Upstreams = []UpstreamConfig{{URL: url}} }))
		response, body := get(t, e.client(), e.url("/"))
		if response.StatusCode != 502 || !strings.Contains(body, want) || !strings.Contains(body, "upstream_failed") {
			t.Errorf("%s: %s %s, want %q", url, response.Status, body, want)
		}
	}
}

// TestWhatWasRemovedIsToldWhileItServes: pools in the API, upstreams in the gauges.
func TestWhatWasRemovedIsToldWhileItServes(t *testing.T) {
	ws := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		head(r)
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(conn, r)
	})
	pool := func(name, id string) Config {
		c := onePool(func(p *PoolConfig) { p.Name, p.Upstreams = name, []UpstreamConfig{{ID: id, URL: ws}} })
		c.Routes[0].Pool = name
		return c
	}
	for name, test := range map[string]struct {
		next Config
		pool bool
	}{"an upstream": {pool("web", "new"), false}, "a pool": {pool("other", "new"), true}} {
		t.Run(name, func(t *testing.T) {
			w := startObserved(t, pool("web", "old"))
			conn := w.dial()
			defer conn.Close()
			_, _ = io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
			head(bufio.NewReader(conn))
			w.Load(test.next)
			w.wantSeries("streamspace_upstream_upgraded_connections{pool=web,upstream=old} 1", "streamspace_upstream_state{pool=web,state=draining,upstream=old} 1",
				"streamspace_upstream_upgraded_connections{pool="+test.next.Pools[0].Name+",upstream=new} 0")
			if pools := w.Pools(); test.pool && (len(pools) != 2 || pools[1].Name != "web" || !pools[1].Removed || pools[0].Removed || pools[1].Upstreams[0].Upgraded != 1) {
				t.Errorf("%+v", pools)
			}
			conn.Close()
			eventually(t, "nothing tells of it", func() bool {
				return len(w.Pools()) == 1 && len(w.Pools()[0].Upstreams) == 1 && !strings.Contains(strings.Join(w.series("streamspace_"), "\n"), "upstream=old")
			})
		})
	}
}
