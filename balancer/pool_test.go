package balancer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func withAffinity(p *PoolConfig) {
	p.Policy = RoundRobin
	p.Affinity = &AffinityConfig{Cookie: "SSAFFINITY", TTL: time.Hour, Path: "/"}
}

// TestCookieKeepsAClientOnItsUpstream: strictly while that is there, with a new
// choice and a new cookie at once when it is not.
func TestCookieKeepsAClientOnItsUpstream(t *testing.T) {
	servers := map[string]*httptest.Server{"a": named(t, "a"), "b": named(t, "b"), "c": named(t, "c")}
	e := startEdge(t, onePool(withAffinity, servers["a"], servers["b"], servers["c"]))
	c := e.client()
	first, at := get(t, c, e.url("/"))
	cookies := first.Cookies()
	if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].MaxAge != 3600 || cookies[0].SameSite != http.SameSiteLaxMode {
		t.Fatalf("cookies %v", first.Header["Set-Cookie"])
	}
	cookie := cookies[0].Name + "=" + cookies[0].Value
	for range 7 {
		if again, body := get(t, c, e.url("/"), "Cookie", "x=1; "+cookie); body != at || len(again.Cookies()) != 0 {
			t.Fatalf("%s instead of %s, cookies %v", body, at, again.Cookies())
		}
	}
	for _, bad := range []string{cookie + "x", cookie[:len(cookie)-2], "SSAFFINITY=", "SSAFFINITY=" + strings.Repeat("A", 4000)} {
		if again, _ := get(t, c, e.url("/"), "Cookie", bad); again.StatusCode != 200 || len(again.Cookies()) != 1 {
			t.Errorf("%.40s: %v", bad, again)
		}
	}
	id := strings.TrimPrefix(servers[at].URL, "http://")
	if _, err := e.Set("web", id, Draining, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, body := get(t, c, e.url("/"), "Cookie", cookie); body != at {
		t.Errorf("draining: %s instead of %s", body, at)
	}
	for range 6 {
		if _, body := get(t, c, e.url("/")); body == at {
			t.Errorf("a new client is at %s, which drains", at)
		}
	}
	if _, err := e.Set("web", id, Disabled, 0); err != nil {
		t.Fatal(err)
	}
	moved, other := get(t, c, e.url("/"), "Cookie", cookie)
	if other == at || len(moved.Cookies()) != 1 {
		t.Errorf("disabled: at %s with %v", other, moved.Cookies())
	}
	if _, err := e.Set("web", id, Enabled, 0); err != nil {
		t.Fatal(err)
	}
	cookie = moved.Cookies()[0].Name + "=" + moved.Cookies()[0].Value
	servers[other].Close()
	if moved, body := get(t, c, e.url("/"), "Cookie", cookie); body == other || len(moved.Cookies()) != 1 || moved.StatusCode != 200 {
		t.Errorf("killed: at %s with %v", body, moved.Cookies())
	}
	if _, err := e.Set("web", "nobody", Enabled, 0); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("an unknown upstream: %v", err)
	}
}

// TestRequestsThatMayBeAreSentAgain: one that no upstream has seen always, one
// that it may have seen by its method.
func TestRequestsThatMayBeAreSentAgain(t *testing.T) {
	gone := named(t, "gone")
	gone.Close()
	var seen atomic.Int32
	breaks := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		head(r)
		seen.Add(1)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Le")
	})
	good := named(t, "good")
	c := onePool(func(p *PoolConfig) {
		p.Policy = RoundRobin
		p.Passive.Failures = 1000
		p.Upstreams = []UpstreamConfig{{URL: gone.URL}, {URL: good.URL}}
	})
	e := startEdge(t, c)
	client := e.client()
	send := func(method string) (int, string) {
		request, _ := http.NewRequest(method, e.url("/"), strings.NewReader("body"))
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(body)
	}
	for range 4 {
		for _, method := range []string{"PUT", "POST"} {
			if status, body := send(method); status != 200 || body != "good" {
				t.Errorf("%s: %d %s", method, status, body)
			}
		}
	}
	c.Pools[0].Upstreams[0].URL = breaks
	e.Load(c)
	outcomes := map[int]int{}
	for range 4 {
		if status, _ := send("PUT"); status != 200 {
			t.Errorf("PUT: %d", status)
		}
		status, _ := send("POST")
		outcomes[status]++
	}
	if outcomes[502] == 0 || outcomes[502]+outcomes[200] != 4 {
		t.Errorf("POST: %v", outcomes)
	}
}

// TestFullUpstreamsLetRequestsWait: in turn, no more than may, no longer than
// they may.
func TestFullUpstreamsLetRequestsWait(t *testing.T) {
	release := make(chan struct{})
	var at, most atomic.Int32
	slow := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		if n := at.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer at.Add(-1)
		<-release
	})
	c := onePool(func(p *PoolConfig) { p.Queue = QueueConfig{Size: 3, Timeout: hang} }, slow)
	c.Pools[0].Upstreams[0].MaxConnections = 2
	e := startEdge(t, c)
	client := e.client()
	results := make(chan int, 10)
	var group sync.WaitGroup
	send := func() {
		group.Go(func() {
			response, err := client.Get(e.url("/"))
			if err != nil {
				t.Error(err)
				return
			}
			response.Body.Close()
			results <- response.StatusCode
		})
	}
	for range 2 {
		send()
	}
	eventually(t, "two are served", func() bool { return at.Load() == 2 })
	for range 3 {
		send()
	}
	eventually(t, "three wait", func() bool { return e.Pools()[0].Waiting == 3 })
	response, body := get(t, client, e.url("/"))
	if response.StatusCode != 503 || response.Header.Get("Retry-After") == "" || !strings.Contains(body, "upstreams_full") {
		t.Errorf("%v %s", response, body)
	}
	close(release)
	group.Wait()
	for range 5 {
		if status := <-results; status != 200 {
			t.Errorf("status %d", status)
		}
	}
	if most.Load() > 2 {
		t.Errorf("%d requests at once", most.Load())
	}
	c.Pools[0].Queue.Timeout = 10 * time.Millisecond
	e.Load(c)
	release = make(chan struct{})
	for range 2 {
		send()
	}
	eventually(t, "two are served", func() bool { return at.Load() == 2 })
	if response, body := get(t, client, e.url("/")); response.StatusCode != 503 || !strings.Contains(body, "as long as") {
		t.Errorf("%v %s", response, body)
	}
	close(release)
	group.Wait()
}

// TestLeavingClientsEndTheirRequests: the upstream's, too.
func TestLeavingClientsEndTheirRequests(t *testing.T) {
	began, ended := make(chan struct{}), make(chan error, 1)
	slow := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		ended <- context.Cause(r.Context())
	})
	e := startEdge(t, onePool(nil, slow))
	conn := e.dial()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-began
	conn.Close()
	select {
	case <-ended:
	case <-time.After(hang):
		t.Fatal("the upstream goes on")
	}
	eventually(t, "nothing is left", func() bool { return e.Active() == 0 && e.Pools()[0].Upstreams[0].Active == 0 })
}

// TestReloadTouchesOnlyWhatItChanges: requests and upgraded connections of an
// upstream that leaves the config go on, as its drain allows.
func TestReloadTouchesOnlyWhatItChanges(t *testing.T) {
	echo := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		head(r)
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(conn, r)
	})
	c := onePool(nil)
	c.Pools[0].Upstreams = []UpstreamConfig{{URL: echo}}
	e := startEdge(t, c)
	conn := e.dial()
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
	r := bufio.NewReader(conn)
	head(r)
	say := func(word string) error {
		if _, err := fmt.Fprintln(conn, word); err != nil {
			return err
		}
		got, err := r.ReadString('\n')
		if err == nil && got != word+"\n" {
			err = fmt.Errorf("%q", got)
		}
		return err
	}
	if err := say("before"); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(){
		func() { c.Pools[0].Policy = P2C },
		func() { c.Pools[0].Upstreams = append(c.Pools[0].Upstreams, UpstreamConfig{URL: named(t, "new").URL}) },
		func() { c.Pools[0].Upstreams = c.Pools[0].Upstreams[1:] },
		func() {
			c = onePool(func(p *PoolConfig) { p.Name = "other" }, named(t, "other"))
			c.Routes[0].Pool = "other"
		},
	} {
		change()
		e.Load(c)
		if err := say("after"); err != nil {
			t.Fatal(err)
		}
	}
	if _, body := get(t, e.client(), e.url("/")); body != "other" {
		t.Errorf("a new request is at %q", body)
	}

	c.Pools[0].Upstreams = []UpstreamConfig{{URL: echo}}
	e.Load(c)
	second := e.dial()
	defer second.Close()
	_, _ = io.WriteString(second, "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
	in := bufio.NewReader(second)
	head(in)
	if _, err := e.Set("other", strings.TrimPrefix(echo, "http://"), Draining, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(in); len(b) > 0 {
		t.Errorf("%q", b)
	}
	if err := say("long after"); err != nil {
		t.Error(err)
	}
}

// TestRequestsGoOnBesideAReload is one for the race detector: a reload that keeps
// an upstream changes nothing of it that requests read without the pool's lock.
func TestRequestsGoOnBesideAReload(t *testing.T) {
	c := onePool(withAffinity, named(t, "a"), named(t, "b"))
	e := startEdge(t, c)
	client := e.client()
	first, _ := get(t, client, e.url("/"))
	cookie, _, _ := strings.Cut(first.Header.Get("Set-Cookie"), ";")
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range 50 {
				if r, body := get(t, client, e.url("/"), "Cookie", cookie); r.StatusCode != 200 {
					t.Errorf("%d: %s", r.StatusCode, body)
				}
			}
		})
	}
	asked := make(chan struct{})
	go func() { clients.Wait(); close(asked) }()
	for weight := 1; ; weight++ {
		select {
		case <-asked:
			return
		case <-time.After(100 * time.Microsecond):
			next := c.Pools[0]
			next.Upstreams = slices.Clone(next.Upstreams)
			next.Upstreams[0].Weight = 1 + weight%3
			e.Load(Config{Pools: []PoolConfig{next}, Routes: c.Routes})
		}
	}
}

// TestChecksGoOnAfterADrain: an upstream that was drained to its end is known to
// be down when it is resumed.
func TestChecksGoOnAfterADrain(t *testing.T) {
	var sick atomic.Bool
	a := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		if sick.Load() {
			w.WriteHeader(500)
		}
	})
	e := startEdge(t, onePool(func(p *PoolConfig) {
		p.Health = HealthConfig{Path: "/health", Interval: 10 * time.Millisecond, Timeout: 10 * time.Millisecond}
	}, a))
	state := func() string { return e.Pools()[0].Upstreams[0].State }
	set := func(setting Setting) {
		if _, err := e.Set("web", strings.TrimPrefix(a.URL, "http://"), setting, time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "it is up", func() bool { return state() == "up" })
	set(Draining)
	eventually(t, "its drain is over", func() bool { return state() == "disabled" })
	set(Enabled)
	sick.Store(true)
	eventually(t, "it is down", func() bool { return state() == "down" })
}

func TestDownUpstreamsGetNothing(t *testing.T) {
	var sick atomic.Bool
	a := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" && sick.Load() {
			w.WriteHeader(500)
		}
		fmt.Fprint(w, "a")
	})
	e := startEdge(t, onePool(func(p *PoolConfig) {
		p.Policy = RoundRobin
		p.Health = HealthConfig{Path: "/health", Interval: 10 * time.Millisecond, Timeout: 10 * time.Millisecond}
	}, a, named(t, "b")))
	state := func() string { return e.Pools()[0].Upstreams[0].State }
	eventually(t, "both are up", func() bool { return state() == "up" && e.Pools()[0].Upstreams[1].State == "up" })
	sick.Store(true)
	eventually(t, "a is down", func() bool { return state() == "down" })
	c := e.client()
	for range 4 {
		if _, body := get(t, c, e.url("/")); body != "b" {
			t.Errorf("%q answers", body)
		}
	}
	sick.Store(false)
	eventually(t, "a is up", func() bool { return state() == "up" })
}

// TestACookieIsRenewedInTime: in the second half of its time, so that who comes
// again and again stays.
func TestACookieIsRenewedInTime(t *testing.T) {
	e := startEdge(t, onePool(withAffinity, named(t, "a"), named(t, "b")))
	p := e.table.Load().pools[0]
	for age, renewed := range map[time.Duration]int{20 * time.Minute: 0, 40 * time.Minute: 1} {
		cookie, _, _ := strings.Cut(p.affinity.SetCookie(p.affinity.Mark(e.Pools()[0].Upstreams[0].ID), false, time.Now().Add(-age)), ";")
		for range 2 {
			if response, body := get(t, e.client(), e.url("/"), "Cookie", cookie); body != "a" || len(response.Cookies()) != renewed {
				t.Errorf("after %s at %s with the cookies %v", age, body, response.Cookies())
			}
		}
	}
}
