package balancer

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/streamspace-dev/streamspace-edge/accesslog"
)

// told is a line of the access log.
type told struct {
	Time         string  `json:"time"`
	RequestID    string  `json:"request_id"`
	Client       string  `json:"client"`
	Method       string  `json:"method"`
	Host         string  `json:"host"`
	Path         string  `json:"path"`
	Query        bool    `json:"query"`
	Protocol     string  `json:"protocol"`
	Upgrade      string  `json:"upgrade"`
	Status       int     `json:"status"`
	BytesIn      int64   `json:"bytes_in"`
	BytesOut     int64   `json:"bytes_out"`
	Duration     float64 `json:"duration"`
	Route        string  `json:"route"`
	Pool         string  `json:"pool"`
	Upstream     string  `json:"upstream"`
	Attempts     int     `json:"attempts"`
	UpstreamTime float64 `json:"upstream_time"`
	QueueTime    float64 `json:"queue_time"`
	UserAgent    string  `json:"user_agent"`
	Ended        string  `json:"ended"`
}

// observed is an edge with an access log.
type observed struct {
	*edge
	registry *prometheus.Registry
	file     string
	log      *accesslog.Log
}

func startObserved(t testing.TB, c Config, change ...func(*Options)) *observed {
	w := &observed{registry: prometheus.NewRegistry(), file: filepath.Join(t.TempDir(), "access.log")}
	var err error
	w.log, err = accesslog.Open(accesslog.Options{File: w.file, Sample: 1, Metrics: accesslog.NewMetrics(prometheus.NewRegistry())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.log.Close() })
	w.edge = startEdge(t, c, append(change, func(o *Options) { o.Access, o.Metrics = w.log, NewMetrics(w.registry) })...)
	return w
}

// lines waits until n lines are there.
func (w *observed) lines(n int) []told {
	w.t.Helper()
	var all []told
	defer func() {
		if len(all) < n {
			w.t.Logf("there are %+v", all)
		}
	}()
	eventually(w.t, fmt.Sprintf("there are %d lines", n), func() bool {
		_ = w.log.Reopen() // writes what waits
		text, err := os.ReadFile(w.file)
		if err != nil {
			w.t.Fatal(err)
		}
		all = nil
		for line := range strings.Lines(string(text)) {
			var one told
			d := json.NewDecoder(strings.NewReader(line))
			if err := d.Decode(&one); err != nil {
				w.t.Fatalf("%q: %v", line, err)
			}
			all = append(all, one)
		}
		return len(all) >= n
	})
	if len(all) != n {
		w.t.Fatalf("%d lines, want %d: %+v", len(all), n, all)
	}
	return all
}

// series is "name{label=value,...} value" of every series whose name begins so.
func (w *observed) series(prefix string) []string {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	var all []string
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), prefix) {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			all = append(all, fmt.Sprintf("%s{%s} %v", f.GetName(), strings.Join(labels, ","), value))
		}
	}
	return all
}

func (w *observed) wantSeries(want ...string) {
	w.t.Helper()
	all := w.series("streamspace_")
	for _, one := range want {
		if !slices.Contains(all, one) {
			w.t.Errorf("there is no %s in\n%s", one, strings.Join(all, "\n"))
		}
	}
}

func TestTheAccessLogTellsOfARequest(t *testing.T) {
	s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(append(body, body...))
	})
	c := onePool(nil, s)
	c.Routes[0].Name = "all"
	c.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	w := startObserved(t, c)
	send := func(body io.Reader) {
		request, _ := http.NewRequest("POST", w.url("/a%20b?token=secret"), body)
		request.Host = "desk.example.org"
		for name, value := range map[string]string{
			"X-Request-Id": "r-1", "User-Agent": "test", "X-Forwarded-For": "203.0.113.7, 192.0.2.1", "Cookie": "a=secret", "Authorization": "Bearer secret",
		} {
			request.Header.Set(name, value)
		}
		response, err := w.client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	big := strings.Repeat("x", 100_000)
	send(strings.NewReader("12345"))
	send(io.MultiReader(strings.NewReader(big))) // chunked, and so is the answer
	lines := w.lines(2)
	for i, size := range []int64{5, 100_000} {
		one := lines[i]
		if _, err := time.Parse("2006-01-02T15:04:05.000Z", one.Time); err != nil || one.Duration <= 0 || one.UpstreamTime <= 0 || one.UpstreamTime > one.Duration {
			t.Errorf("times: %+v", one)
		}
		one.Time, one.Duration, one.UpstreamTime = "", 0, 0
		want := told{
			RequestID: "r-1", Client: "192.0.2.1", Method: "POST", Host: "desk.example.org", Path: "/a%20b", Query: true, Protocol: "HTTP/1.1", Status: 201,
			BytesIn: size, BytesOut: 2 * size, Route: "all", Pool: "web", Upstream: strings.TrimPrefix(s.URL, "http://"), Attempts: 1, UserAgent: "test", Ended: "done",
		}
		if one != want {
			t.Errorf("got  %+v\nwant %+v", one, want)
		}
	}
	if text, _ := os.ReadFile(w.file); strings.Contains(string(text), "secret") {
		t.Errorf("a credential is in the log: %s", text)
	}
	at := strings.TrimPrefix(s.URL, "http://")
	w.wantSeries(
		"streamspace_route_requests_total{route=all,status=2xx} 2", "streamspace_route_requests_total{route=all,status=5xx} 0",
		"streamspace_route_bytes_total{direction=client_to_upstream,route=all} 100005", "streamspace_route_bytes_total{direction=upstream_to_client,route=all} 200010",
		"streamspace_upstream_bytes_total{direction=client_to_upstream,pool=web,upstream="+at+"} 100005",
		"streamspace_http_requests_total{pool=web,status=2xx,upstream="+at+"} 2", "streamspace_http_requests_total{pool=web,status=5xx,upstream=} 0",
		"streamspace_upstream_response_seconds{pool=web,upstream="+at+"} 2", "streamspace_http_request_duration_seconds{pool=web} 2",
		"streamspace_pool_queue_length{pool=web} 0", "streamspace_upstream_requests_in_flight{pool=web,upstream="+at+"} 0",
		"streamspace_upstream_state{pool=web,state=up,upstream="+at+"} 1", "streamspace_upstream_state{pool=web,state=down,upstream="+at+"} 0",
	)
}

func TestTheAccessLogTellsHowARequestEnded(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	broken := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		head(r)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nshort")
	})
	ws := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		head(r)
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(conn, r)
		_ = conn.(*net.TCPConn).CloseWrite()
	})
	one := func(name, url string) PoolConfig {
		return PoolConfig{Name: name, Upstreams: []UpstreamConfig{{ID: "u", URL: url}}}
	}
	w := startObserved(t, Config{
		Pools: []PoolConfig{one("gone", "http://"+closed.Addr().String()), one("broken", broken), one("ws", ws), one("limited", ws)},
		Routes: []RouteConfig{{Path: "/gone", Pool: "gone"}, {Path: "/broken", Pool: "broken"}, {Path: "/ws", Pool: "ws"}, {
			Path: "/limited", Pool: "limited",
			RateLimits: []RateLimitConfig{{Name: "none", By: ByRoute, Requests: 1, Per: time.Hour}},
		}},
	})
	w.raw("GET /gone HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	w.raw("GET /broken HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	w.raw("GET /gone HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n\r\n")
	if got := w.raw("GET /limited HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.Contains(got, " 502 ") || !strings.Contains(got, `Ratelimit: "none";r=0;t=3600`) {
		t.Errorf("%q", got) // the upstream goes on with another protocol unasked
	}
	if got := w.raw("GET /limited HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.Contains(got, " 429 ") || !strings.Contains(got, `"code":"rate_limited"`) ||
		!strings.Contains(got, "Retry-After: 3600\r\n") {
		t.Errorf("%q", got)
	}
	conn := w.dial()
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
	r := bufio.NewReader(conn)
	head(r)
	w.wantSeries("streamspace_upstream_upgraded_connections{pool=ws,upstream=u} 1", "streamspace_upstream_requests_in_flight{pool=ws,upstream=u} 0")
	_, _ = io.WriteString(conn, "hello")
	_ = conn.(*net.TCPConn).CloseWrite()
	if _, err := io.ReadAll(r); err != nil {
		t.Error(err)
	}
	got := map[string]told{}
	for _, one := range w.lines(6) {
		got[fmt.Sprint(one.Path, " ", one.Status)] = one
	}
	for what, want := range map[string]told{
		"/gone 502":    {Ended: "upstream_failed", Pool: "gone", Attempts: 1},
		"/gone 400":    {Ended: "bad_request", Pool: "gone"},
		"/broken 200":  {Ended: "upstream_failed", Pool: "broken", Attempts: 1},
		"/limited 429": {Ended: "rate_limited", Pool: "limited"},
		"/ws 101":      {Ended: "done", Pool: "ws", Attempts: 1, Upgrade: "echo", BytesIn: 5, BytesOut: 5},
	} {
		one, there := got[what]
		if !there {
			t.Errorf("nothing tells of %s: %+v", what, got)
			continue
		}
		if one.Ended != want.Ended || one.Pool != want.Pool || one.Attempts < want.Attempts || one.Upgrade != want.Upgrade ||
			what == "/ws 101" && (one.BytesIn != want.BytesIn || one.BytesOut != want.BytesOut) {
			t.Errorf("%s: %+v", what, one)
		}
	}
	w.wantSeries("streamspace_rate_limited_total{limit=none} 1", "streamspace_route_requests_total{route=/limited,status=4xx} 1")
}

func TestTheAccessLogTellsOfClientsThatLeft(t *testing.T) {
	came := make(chan bool, 1)
	s := startServer(t, func(_ http.ResponseWriter, r *http.Request) {
		came <- true
		<-r.Context().Done()
	})
	w := startObserved(t, onePool(nil, s))
	conn := w.dial()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-came
	conn.Close()
	if one := w.lines(1)[0]; one.Ended != "client_left" || one.Status != 499 {
		t.Errorf("%+v", one)
	}
}

// TestTheAccessLogTellsOfClientsThatLeaveAmidTheAnswer: also what they had asked
// for, which the server forgets soon after.
func TestTheAccessLogTellsOfClientsThatLeaveAmidTheAnswer(t *testing.T) {
	s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write(make([]byte, 64<<10))
		}
	})
	w := startObserved(t, onePool(nil, s))
	conn := w.dial()
	_, _ = io.WriteString(conn, "GET /endless HTTP/1.1\r\nHost: x\r\nUser-Agent: test\r\n\r\n")
	if _, err := io.ReadFull(conn, make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	one := w.lines(1)[0]
	if one.Ended != "client_left" || one.Status != 200 || one.Path != "/endless" || one.Method != "GET" || one.UserAgent != "test" || one.BytesOut < 100_000-1000 {
		t.Errorf("%+v", one)
	}
}

// TestQueuedRequestsTellHowLong: and the gauge tells how many there are.
func TestQueuedRequestsTellHowLong(t *testing.T) {
	hold := make(chan bool)
	s := startServer(t, func(http.ResponseWriter, *http.Request) { <-hold })
	w := startObserved(t, onePool(func(p *PoolConfig) { p.Upstreams[0].MaxConnections = 1 }, s))
	done := make(chan bool, 2)
	for range 2 {
		go func() {
			w.raw("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			done <- true
		}()
	}
	eventually(t, "one waits", func() bool {
		return slices.Contains(w.series("streamspace_pool"), "streamspace_pool_queue_length{pool=web} 1")
	})
	close(hold)
	<-done
	<-done
	lines := w.lines(2)
	if (lines[0].QueueTime > 0) == (lines[1].QueueTime > 0) {
		t.Errorf("one of two has waited: %+v", lines)
	}
}

func TestSeriesGoWithWhatTheyTellOf(t *testing.T) {
	a, b := named(t, "a"), named(t, "b")
	pool := func(name string, servers ...string) PoolConfig {
		p := PoolConfig{Name: name}
		for _, url := range servers {
			p.Upstreams = append(p.Upstreams, UpstreamConfig{URL: url})
		}
		return p
	}
	first := Config{
		Pools:      []PoolConfig{pool("stays", a.URL, b.URL), pool("goes", a.URL)},
		Routes:     []RouteConfig{{Path: "/", Pool: "stays"}, {Path: "/goes/", Pool: "goes", Name: "going"}},
		RateLimits: []RateLimitConfig{{Name: "old", By: ByAddress, Requests: 100}},
	}
	w := startObserved(t, first)
	c := w.client()
	for range 4 {
		get(t, c, w.url("/"))
		get(t, c, w.url("/goes/"))
	}
	if _, err := w.Set("goes", strings.TrimPrefix(a.URL, "http://"), Disabled, 0); err != nil {
		t.Fatal(err)
	}
	w.wantSeries("streamspace_route_requests_total{route=going,status=2xx} 4")
	w.Load(Config{Pools: []PoolConfig{pool("stays", a.URL)}, Routes: []RouteConfig{{Path: "/", Pool: "stays"}}})
	w.Load(Config{Pools: []PoolConfig{pool("stays", a.URL)}, Routes: []RouteConfig{{Path: "/", Pool: "stays"}}})
	gone := []string{"pool=goes", "route=going", "limit=old", strings.TrimPrefix(b.URL, "http://")}
	eventually(t, "their series are gone", func() bool {
		text := strings.Join(w.series("streamspace_"), "\n")
		return !slices.ContainsFunc(gone, func(what string) bool { return strings.Contains(text, what) })
	})
	w.wantSeries("streamspace_route_requests_total{route=/,status=2xx} 4")
	w.Load(first)
	get(t, c, w.url("/goes/"))
	w.wantSeries("streamspace_route_requests_total{route=going,status=2xx} 1", "streamspace_route_requests_total{route=/,status=2xx} 4")
}
