package balancer

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestUnaskedWordsAreNobodysAnswer: what an upstream says behind an answer, or
// while it has no request, goes to no client, whenever it comes.
func TestUnaskedWordsAreNobodysAnswer(t *testing.T) {
	const evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	for name, c := range map[string]struct{ method, answer string }{
		"a body to HEAD":       {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 41\r\n\r\n"},
		"a body of 304":        {"GET", "HTTP/1.1 304 Not Modified\r\n\r\n"},
		"a body of 204":        {"GET", "HTTP/1.1 204 No Content\r\n\r\n"},
		"more than its length": {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
	} {
		t.Run(name, func(t *testing.T) {
			said := make(chan struct{})
			var conns atomic.Int32
			upstream := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
				first := conns.Add(1) == 1
				for head(r) != "" {
					if !first {
						_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
						continue
					}
					_, _ = io.WriteString(conn, c.answer)
					<-said
					_, _ = io.WriteString(conn, evil)
					said <- struct{}{}
					_, _ = io.Copy(io.Discard, r)
				}
			})
			e := startEdge(t, onePool(func(p *PoolConfig) { p.Upstreams = []UpstreamConfig{{URL: upstream}} }))
			request, _ := http.NewRequest(c.method, e.url("/"), nil)
			response, err := e.client().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			ls := e.links()
			eventually(t, "the connection waits for a request", func() bool { return ls.waiting() == 1 })
			said <- struct{}{}
			<-said
			eventually(t, "the words have arrived", func() bool {
				ls.mu.Lock()
				defer ls.mu.Unlock()
				return hasStirred(ls.idle[0].Conn)
			})
			if _, body := get(t, e.client(), e.url("/")); body != "good" {
				t.Errorf("another client got %q", body)
			}
		})
	}
}

// TestUnaskedWordsWithinTLS: these may have come with the answer, and wait where
// the socket does not tell of them.
func TestUnaskedWordsWithinTLS(t *testing.T) {
	certificate, _ := selfSigned(t, "127.0.0.1")
	caFile, _ := pemFiles(t, certificate)
	upstream := rawServer(t, func(conn net.Conn, _ *bufio.Reader) {
		together := &gathering{Conn: conn}
		secure := tls.Server(together, &tls.Config{Certificates: []tls.Certificate{certificate}})
		r := bufio.NewReader(secure)
		for i := 0; head(r) != ""; i++ {
			if i > 0 {
				return // the first answer was followed by another
			}
			together.gathers = true
			_, _ = io.WriteString(secure, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
			_, _ = io.WriteString(secure, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
			_, _ = conn.Write(together.gathered.Bytes())
		}
	})
	e := startEdge(t, onePool(func(p *PoolConfig) {
		p.TLS.CAFile = caFile
		p.Upstreams = []UpstreamConfig{{URL: strings.Replace(upstream, "http:", "https:", 1)}}
	}))
	for range 3 {
		if _, body := get(t, e.client(), e.url("/")); body != "good" {
			t.Errorf("a client got %q", body)
		}
	}
}

// gathering keeps what is written for one write of several TLS records.
type gathering struct {
	net.Conn
	gathers  bool
	gathered bytes.Buffer
}

func (g *gathering) Write(p []byte) (int, error) {
	if g.gathers {
		return g.gathered.Write(p)
	}
	return g.Conn.Write(p)
}

// links are those of the first upstream.
func (e *edge) links() *links {
	p := e.table.Load().pools[0]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.upstreams[0].links
}
