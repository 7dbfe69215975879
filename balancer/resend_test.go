package balancer

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestARequestIsSentAgainAsAWhole: with its whole body, or not at all.
func TestARequestIsSentAgainAsAWhole(t *testing.T) {
	breaks := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		if request, err := http.ReadRequest(r); err == nil {
			_, _ = io.Copy(io.Discard, request.Body)
		}
	})
	got := make(chan string, 1)
	good := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			got <- string(body)
		}
	})
	for _, size := range []int{0, 1, 8 << 10, 8<<10 + 1, 20_000, 64 << 10, 64<<10 + 1, 300_000} {
		for _, sized := range []bool{true, false} {
			e := startEdge(t, onePool(func(p *PoolConfig) {
				p.Policy = RoundRobin
				p.Upstreams = []UpstreamConfig{{ID: "a", URL: breaks}, {ID: "b", URL: good.URL}}
			}))
			want := strings.Repeat("x", size)
			body := io.Reader(strings.NewReader(want))
			if !sized {
				body = io.MultiReader(body)
			}
			request, _ := http.NewRequest("PUT", e.url("/"), body)
			response, err := e.client().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			again := sized && size <= wholeBody
			if ok := response.StatusCode == 200; ok != again {
				t.Errorf("%d bytes, sized %v: status %d", size, sized, response.StatusCode)
			}
			if response.StatusCode == 200 {
				if body := <-got; body != want {
					t.Errorf("%d bytes, sized %v: %d came", size, sized, len(body))
				}
			}
		}
	}
}

// TestWhatCantBeSentAgainGoesToNoDeadConnection: an upstream that was restarted
// left connections behind; a POST, an upgrade and a stream find a good one.
func TestWhatCantBeSentAgainGoesToNoDeadConnection(t *testing.T) {
	var served atomic.Int32
	upstream := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		request, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, request.Body)
		served.Add(1)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") // and closes it without a word
	})
	e := startEdge(t, onePool(func(p *PoolConfig) { p.Upstreams = []UpstreamConfig{{URL: upstream}} }))
	c := e.client()
	for i, ask := range []func() *http.Request{
		func() *http.Request {
			r, _ := http.NewRequest("POST", e.url("/"), strings.NewReader("body"))
			return r
		},
		func() *http.Request {
			r, _ := http.NewRequest("PUT", e.url("/"), io.MultiReader(strings.NewReader("a stream")))
			return r
		},
		func() *http.Request {
			r, _ := http.NewRequest("GET", e.url("/"), nil)
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "websocket")
			return r
		},
	} {
		if response, body := get(t, c, e.url("/")); response.StatusCode != 200 {
			t.Fatalf("%v %s", response, body)
		}
		eventually(t, "the edge's connection is closed", func() bool {
			p := e.table.Load().pools[0]
			p.mu.Lock()
			defer p.mu.Unlock()
			ls := p.upstreams[0].links
			ls.mu.Lock()
			defer ls.mu.Unlock()
			return len(ls.idle) == 1 && hasLeft(ls.idle[0].Conn)
		})
		response, err := c.Do(ask())
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != 200 || int(served.Load()) != 2*(i+1) {
			t.Errorf("request %d: status %d, the upstream has served %d", i, response.StatusCode, served.Load())
		}
	}
}

// TestFormsPassByteForByte: with the order, the spacing and the headers of parts
// that the client chose.
func TestFormsPassByteForByte(t *testing.T) {
	got := make(chan []byte, 1)
	s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- body
	})
	e := startEdge(t, onePool(nil, s))
	var form bytes.Buffer
	for i := range 20 {
		fmt.Fprintf(&form, "--b\r\ncontent-disposition:  form-data; name=f%d\r\nX-Own: %d\r\n\r\nvalue\r\n", 20-i, i)
	}
	form.WriteString("--b--\r\nan epilogue")
	for _, body := range []string{form.String(), "no form at all"} {
		response, err := e.client().Post(e.url("/"), "multipart/form-data; boundary=b", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		select {
		case b := <-got:
			if string(b) != body {
				t.Errorf("%d bytes of %d came: %.200q", len(b), len(body), b)
			}
		default:
			t.Errorf("status %d, and the upstream has seen nothing", response.StatusCode)
		}
	}
}

// TestAnEdgeThatStartsKeepsCookies: before the first checks are over, whatever the
// share for panic; and an operator's word outlives a change of the pool's
// connections.
func TestAnEdgeThatStartsKeepsCookies(t *testing.T) {
	release := make(chan struct{})
	server := func(name string) UpstreamConfig {
		return UpstreamConfig{URL: startServer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/health" {
				<-release // the first check takes its time
			}
			fmt.Fprint(w, name)
		}).URL}
	}
	c := onePool(withAffinity)
	c.Pools[0].Upstreams = []UpstreamConfig{server("a"), server("b"), server("c")}
	before := startEdge(t, c)
	first, at := get(t, before.client(), before.url("/"))
	cookie := first.Header.Get("Set-Cookie")
	cookie = cookie[:strings.IndexByte(cookie, ';')]

	c.Pools[0].Health = HealthConfig{Path: "/health", Interval: hang, Timeout: hang}
	after := startEdge(t, c)
	defer close(release)
	client := after.client()
	for range 6 {
		if response, body := get(t, client, after.url("/"), "Cookie", cookie); body != at || len(response.Cookies()) > 0 {
			t.Errorf("at %s instead of %s, cookies %v", body, at, response.Cookies())
		}
		if response, _ := get(t, client, after.url("/")); response.StatusCode != 200 {
			t.Errorf("a new client gets %d", response.StatusCode)
		}
	}
	id := after.Pools()[0].Upstreams[0].ID
	if _, err := after.Set("web", id, Disabled, 0); err != nil {
		t.Fatal(err)
	}
	c.Pools[0].Timeouts.Connect = time.Minute
	after.Load(c)
	if state := after.Pools()[0].Upstreams[0]; state.ID != id || state.State != "disabled" {
		t.Errorf("after a reload %+v", state)
	}
}
