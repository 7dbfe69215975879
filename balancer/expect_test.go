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

	"github.com/streamspace-dev/streamspace-edge/accesslog"
)

const expects = "Host: a\r\nExpect: 100-continue\r\n"

// TestTheUpstreamDecidesWhetherABodyIsSent: the client is told to go on when the
// upstream has said so, or nothing.
func TestTheUpstreamDecidesWhetherABodyIsSent(t *testing.T) {
	for name, c := range map[string]struct {
		framing, body string // as the client sends them
		says          string // the upstream, to the head
		goesOn        bool
		want          string // of the final answer
	}{
		"100":                 {"Content-Length: 5", "hello", "HTTP/1.1 100 Continue\r\n\r\n", true, "200 OK"},
		"100, chunked":        {"Transfer-Encoding: chunked\r\nTrailer: X-A", "5\r\nhello\r\n0\r\nX-A: 1\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", true, "200 OK"},
		"100 behind another":  {"Content-Length: 5", "hello", "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n", true, "200 OK"},
		"nothing":             {"Content-Length: 5", "hello", "", true, "200 OK"},
		"417":                 {"Content-Length: 5", "", "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno", false, "417 Expectation Failed"},
		"413 that is chunked": {"Content-Length: 5", "", "HTTP/1.1 413 Too Large\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", false, "413 Too Large"},
		"200 without a body":  {"Content-Length: 5", "", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", false, "200 OK"},
		"garbage":             {"Content-Length: 5", "", "nonsense\r\n\r\n", false, "502 Bad Gateway"},
	} {
		t.Run(name, func(t *testing.T) {
			heads, bodies := make(chan string, 9), make(chan string, 9)
			upstream := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
				for {
					h := head(r)
					if h == "" {
						return
					}
					heads <- h
					if c.says != "" {
						_, _ = io.WriteString(conn, c.says)
					}
					if !c.goesOn {
						_, _ = io.Copy(io.Discard, r)
						return
					}
					b := make([]byte, len(c.body))
					n, _ := io.ReadFull(r, b)
					bodies <- string(b[:n])
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			})
			e := startEdge(t, onePool(func(p *PoolConfig) {
				p.Upstreams = []UpstreamConfig{{URL: upstream}}
				p.Timeouts.Idle = 5 * time.Second
			}))
			conn := e.dial()
			defer conn.Close()
			reader := bufio.NewReader(conn)
			for range 2 { // a connection that has carried one is as good
				fmt.Fprint(conn, "POST /a%2Fb HTTP/1.1\r\n"+expects+c.framing+"\r\n\r\n")
				if c.goesOn {
					if text := head(reader); text != "HTTP/1.1 100 Continue\r\n\r\n" {
						t.Fatalf("the client was told %q", text)
					}
					fmt.Fprint(conn, c.body)
				}
				response, err := http.ReadResponse(reader, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.ReadAll(response.Body)
				if response.Status != c.want {
					t.Errorf("the answer is %s", response.Status)
				}
				h := <-heads
				if !strings.HasPrefix(h, "POST /a%2Fb HTTP/1.1\r\n") || !strings.Contains(h, "Expect: 100-continue\r\n") || !strings.Contains(h, strings.SplitN(c.framing, "\r\n", 2)[0]) {
					t.Errorf("the upstream got %q", h)
				}
				if !c.goesOn {
					if !response.Close {
						t.Error("the connection stays open for a body that does not come")
					}
					break
				}
				if got := <-bodies; got != c.body {
					t.Errorf("the upstream got the body %q", got)
				}
			}
			eventually(t, "nothing is left", func() bool { return e.Active() == 0 })
		})
	}
}

func TestAClientThatNeverSendsItsBodyLeavesNothing(t *testing.T) {
	upstream := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		head(r)
		_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
		_, _ = io.Copy(io.Discard, r)
	})
	e := startObserved(t, onePool(func(p *PoolConfig) { p.Upstreams = []UpstreamConfig{{ID: "u", URL: upstream, MaxConnections: 1}} }))
	const times = 3
	for range times { // each needs the upstream's only place
		conn := e.dial()
		fmt.Fprint(conn, "POST / HTTP/1.1\r\n"+expects+"Content-Length: 5\r\n\r\n")
		if text := head(bufio.NewReader(conn)); text != "HTTP/1.1 100 Continue\r\n\r\n" {
			t.Fatalf("the client was told %q", text)
		}
		conn.Close()
		eventually(t, "nothing is left", func() bool { return e.Active() == 0 && e.Pools()[0].Upstreams[0].Active == 0 })
	}
	for _, one := range e.lines(times) {
		if one.Status != accesslog.StatusClientLeft || one.Ended != accesslog.ClientLeft || one.Method != "POST" || one.Upstream != "u" || one.BytesIn != 0 {
			t.Errorf("%+v", one)
		}
	}
	e.wantSeries("streamspace_http_requests_total{pool=web,status=4xx,upstream=u} 3", "streamspace_route_requests_total{route=/,status=4xx} 3")
}

// TestABodyThatTheServerCanNotTakeInIsToldOnce: with the status that the client
// got.
func TestABodyThatTheServerCanNotTakeInIsToldOnce(t *testing.T) {
	upstream := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		head(r)
		_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
		_, _ = io.Copy(io.Discard, r)
	})
	e := startObserved(t, onePool(func(p *PoolConfig) { p.Upstreams = []UpstreamConfig{{ID: "u", URL: upstream}} }))
	conn := e.dial()
	defer conn.Close()
	fmt.Fprint(conn, "POST / HTTP/1.1\r\n"+expects+"Transfer-Encoding: chunked\r\n\r\n")
	reader := bufio.NewReader(conn)
	head(reader)
	fmt.Fprint(conn, "nonsense\r\n")
	if text := head(reader); !strings.HasPrefix(text, "HTTP/1.1 400 ") {
		t.Fatalf("the client was told %q", text)
	}
	if one := e.lines(1)[0]; one.Status != http.StatusBadRequest || one.Ended != "bad_request" || one.Path != "/" {
		t.Errorf("%+v", one)
	}
	e.wantSeries("streamspace_http_requests_total{pool=web,status=4xx,upstream=u} 1")
}

func TestWhatCanNotBeServedIsToldBeforeTheBody(t *testing.T) {
	e := startEdge(t, onePool(func(p *PoolConfig) { p.Upstreams = []UpstreamConfig{{URL: "http://127.0.0.1:1"}} }))
	conn := e.dial()
	defer conn.Close()
	fmt.Fprint(conn, "POST / HTTP/1.1\r\n"+expects+"Content-Length: 5\r\n\r\n")
	if text := head(bufio.NewReader(conn)); !strings.HasPrefix(text, "HTTP/1.1 502 ") {
		t.Errorf("the client was told %q", text)
	}
}

// TestAGoServerGetsTheBodyItReadsOnly: it says 100 when its handler reads.
func TestAGoServerGetsTheBodyItReadsOnly(t *testing.T) {
	server := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuses" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, len(body))
	})
	e := startEdge(t, onePool(nil, server))
	body := strings.Repeat("x", 300_000)
	for path, want := range map[string]string{"/": "HTTP/1.1 100 Continue\r\n\r\n", "/refuses": "HTTP/1.1 403 Forbidden\r\n"} {
		conn := e.dial()
		defer conn.Close()
		fmt.Fprint(conn, "PUT "+path+" HTTP/1.1\r\n"+expects+fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)))
		reader := bufio.NewReader(conn)
		if text := head(reader); !strings.HasPrefix(text, want) {
			t.Fatalf("%s: the client was told %q", path, text)
		}
		if path == "/refuses" {
			continue
		}
		_, _ = io.WriteString(conn, body)
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := io.ReadAll(response.Body); string(text) != fmt.Sprint(len(body)) {
			t.Errorf("the upstream read %s bytes", text)
		}
	}
}

// TestTheLastRequestOfAConnectionMayExpect: the connection ends with its answer.
func TestTheLastRequestOfAConnectionMayExpect(t *testing.T) {
	reads := startServer(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	e := startEdge(t, onePool(nil, reads))
	for _, request := range []string{
		"POST / HTTP/1.1\r\n" + expects + "Connection: close\r\nContent-Length: 4\r\n\r\nbody",
		"POST / HTTP/1.1\r\n" + expects + "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	} {
		conn := e.dial()
		_ = conn.SetDeadline(time.Now().Add(hang))
		_, _ = io.WriteString(conn, request)
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.Contains(string(answer), "\r\nConnection: close\r\n") {
			t.Errorf("%q, %v", answer, err)
		}
		conn.Close()
	}
}
