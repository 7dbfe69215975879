package balancer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestRequestsAreSpreadAndAnswered(t *testing.T) {
	e := startEdge(t, onePool(func(p *PoolConfig) { p.Policy = RoundRobin }, named(t, "a"), named(t, "b")))
	got := map[string]int{}
	c := e.client()
	for range 10 {
		response, body := get(t, c, e.url("/x?y=1"))
		if response.StatusCode != 200 || response.Header.Get("X-Request-Id") == "" {
			t.Errorf("%v", response)
		}
		got[body]++
	}
	if got["a"] != 5 || got["b"] != 5 {
		t.Errorf("%v", got)
	}
}

// TestBodiesStreamBothWays: of any size, by length and by chunks, byte for byte.
func TestBodiesStreamBothWays(t *testing.T) {
	echo := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.Header.Get("X-Sized") != "" {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		}
		w.Header().Set("X-Got", fmt.Sprintf("%x", sha256.Sum256(body)))
		_, _ = w.Write(body)
	})
	e := startEdge(t, onePool(nil, echo))
	c := e.client()
	random := rand.NewChaCha8([32]byte{1})
	for _, size := range []int{0, 1, 1000, 64 << 10, 64<<10 + 1, 300_000, 20 << 20} {
		for _, sized := range []bool{true, false} {
			body := make([]byte, size)
			_, _ = random.Read(body)
			request, _ := http.NewRequest("POST", e.url("/"), bytes.NewReader(body))
			if sized {
				request.Header.Set("X-Sized", "1")
			} else {
				request.Body = io.NopCloser(bytes.NewReader(body))
				request.ContentLength = -1
			}
			response, err := c.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || !bytes.Equal(got, body) || response.Header.Get("X-Got") != fmt.Sprintf("%x", sha256.Sum256(body)) {
				t.Errorf("%d bytes, sized %v: %d came back, %v", size, sized, len(got), err)
			}
		}
	}
}

// TestUpgradedConnectionsCarryEverything: also what the client sends before the
// 101, and what the upstream sends with it.
func TestUpgradedConnectionsCarryEverything(t *testing.T) {
	heads := make(chan string, 1)
	upstream := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		heads <- head(r)
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello ")
		_, _ = io.Copy(conn, r)
		_ = conn.(*net.TCPConn).CloseWrite()
	})
	c := onePool(nil)
	c.Pools[0].Upstreams = []UpstreamConfig{{URL: upstream}}
	e := startEdge(t, c)
	conn := e.dial()
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nahead ")
	r := bufio.NewReader(conn)
	if answer := head(r); !strings.HasPrefix(answer, "HTTP/1.1 101") || !strings.Contains(answer, "Upgrade: echo\r\n") || !strings.Contains(answer, "Connection: Upgrade\r\n") {
		t.Errorf("answer %q", answer)
	}
	if h := <-heads; !strings.Contains(h, "Upgrade: echo\r\n") || !strings.Contains(h, "Connection: Upgrade\r\n") {
		t.Errorf("the upstream was asked %q", h)
	}
	if state := e.Pools()[0].Upstreams[0]; state.Active != 1 || state.Upgraded != 1 {
		t.Errorf("%+v", state)
	}
	eventually(t, "nobody but the loop looks at the client's connection", func() bool {
		for i := range e.visits {
			l := &e.visits[i]
			l.mu.Lock()
			looks := l.first != nil && l.first.client != nil
			l.mu.Unlock()
			if looks {
				return false
			}
		}
		return true
	})
	random := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(random)
	go func() {
		_, _ = conn.Write(random)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(r)
	if want := append([]byte("hello ahead "), random...); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
	eventually(t, "the place is given back", func() bool { return e.Pools()[0].Upstreams[0].Active == 0 && e.Active() == 0 })
}

func TestEarlyHintsPass(t *testing.T) {
	s := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload; as=style")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		fmt.Fprint(w, "page")
	})
	e := startEdge(t, onePool(nil, s))
	got := e.raw("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\n\r\nHTTP/1.1 200 OK\r\n") {
		t.Errorf("%q", got)
	}
	if got := e.raw("GET / HTTP/1.0\r\nHost: x\r\n\r\n"); strings.Contains(got, "HTTP/1.1 103") {
		t.Errorf("an HTTP/1.0 client got %q", got)
	}
}
