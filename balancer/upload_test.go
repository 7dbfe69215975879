package balancer

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestBytesOfABodyAreThoseThatCame: not those that the client announced.
func TestBytesOfABodyAreThoseThatCame(t *testing.T) {
	s := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.WriteHeader(http.StatusNotImplemented)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
	})
	many := strings.Repeat("x", 100_000) // more than the server reads ahead
	for name, test := range map[string]struct {
		request string
		status  int
		in      int64
	}{
		"refused unread":          {"POST /refuse HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 60000000\r\n\r\n", 501, 0},
		"refused by the edge":     {"POST / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nContent-Length: 60000000\r\n\r\n" + many, 400, 0},
		"cut":                     {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n\r\n" + many, 499, int64(len(many))},
		"whole":                   {"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nsome", 200, 4},
		"whole, kept for a retry": {"PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nsome", 200, 4},
	} {
		t.Run(name, func(t *testing.T) {
			w := startObserved(t, onePool(func(p *PoolConfig) { p.Upstreams = []UpstreamConfig{{ID: "u", URL: s.URL}} }))
			w.raw(test.request)
			one := w.lines(1)[0]
			if one.Status != test.status || one.BytesIn != test.in {
				t.Errorf("%d, %d bytes in; want %d, %d", one.Status, one.BytesIn, test.status, test.in)
			}
			if test.in > 0 {
				w.wantSeries(fmt.Sprintf("streamspace_route_bytes_total{direction=client_to_upstream,route=/} %d", test.in))
			}
		})
	}
}

// TestWhoLeavesDuringAnUploadHasLeft: and has sent no bad request; only what is
// malformed is one.
func TestWhoLeavesDuringAnUploadHasLeft(t *testing.T) {
	s := startServer(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	const (
		sized   = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"
		chunks  = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
		left    = "client_left"
		refused = "bad_request"
	)
	for name, test := range map[string]struct {
		request string
		status  int
		ended   string
	}{
		"sized":                    {sized + strings.Repeat("x", 100_000), 499, left},
		"in a chunk":               {chunks + "10\r\nsome", 499, left},
		"behind a chunk":           {chunks + "4\r\nsome", 499, left},
		"before a chunk's size":    {chunks + "4\r\nsome\r\n", 499, left},
		"in a chunk's size":        {chunks + "4\r\nsome\r\n5", 499, left},
		"before the trailers":      {chunks + "4\r\nsome\r\n0\r\n", 499, left},
		"a size that is none":      {chunks + "4\r\nsome\r\nmany\r\n", 400, refused},
		"a chunk that is too long": {chunks + "4\r\nsomething\r\n0\r\n\r\n", 400, refused},
		"a trailer that is none":   {chunks + "4\r\nsome\r\n0\r\nnonsense\r\n\r\n", 400, refused},
	} {
		for _, reset := range []bool{false, true} {
			if reset && test.ended != left {
				continue
			}
			t.Run(fmt.Sprintf("%s, reset: %v", name, reset), func(t *testing.T) {
				core, logs := observer.New(zap.WarnLevel)
				w := startObserved(t, onePool(nil, s), func(o *Options) { o.Log = zap.New(core) })
				if !reset {
					w.raw(test.request)
				} else {
					conn := w.dial()
					_, _ = io.WriteString(conn, test.request)
					eventually(t, "it is being served", func() bool { return w.Active() == 1 })
					_ = conn.(*net.TCPConn).SetLinger(0)
					_ = conn.Close()
				}
				if one := w.lines(1)[0]; one.Status != test.status || one.Ended != test.ended {
					t.Errorf("%d %s, want %d %s", one.Status, one.Ended, test.status, test.ended)
				}
				if warned := logs.FilterMessage("request refused").Len() > 0; warned != (test.ended == refused) {
					t.Errorf("a warning: %v", warned)
				}
			})
		}
	}
}

// TestUnreadBodiesAreTold: so that nobody's connection is closed on them; and only
// those.
func TestUnreadBodiesAreTold(t *testing.T) {
	s := startServer(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	nobody := "http://127.0.0.1:1"
	many := strings.Repeat("x", 100_000)
	for name, c := range map[string]struct {
		upstream, request string
		told              bool
	}{
		"none":                         {nobody, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", false},
		"small, and read":              {s.URL, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nsome", false},
		"small, read for nobody":       {nobody, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nsome", false},
		"large, and read":              {s.URL, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + many, false},
		"large, and not":               {nobody, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + many, true},
		"chunked, and read":            {s.URL, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n0\r\n\r\n", false},
		"chunked, and not":             {nobody, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n", true},
		"of a request that is refused": {s.URL, "POST / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nContent-Length: 100000\r\n\r\n" + many, true},
		"of one whose end is unclear":  {s.URL, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore", true},
		"expected, and refused":        {nobody, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nsome", true},
	} {
		t.Run(name, func(t *testing.T) {
			told := make(chan net.Conn, 9)
			e := startEdge(t, onePool(func(p *PoolConfig) { p.Upstreams = []UpstreamConfig{{URL: c.upstream}} }), func(o *Options) {
				o.Unread = func(client net.Conn) { told <- client }
			})
			conn := e.dial()
			defer conn.Close()
			_, _ = io.WriteString(conn, c.request)
			if _, err := conn.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if (len(told) > 0) != c.told {
				t.Errorf("it was told of %d", len(told))
			}
		})
	}
}
