package balancer

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// answering is a pool of one upstream that gives each request the same answer,
// and then does what then says.
func answering(t *testing.T, answer string, then func(net.Conn)) *edge {
	upstream := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		for head(r) != "" {
			if _, err := io.WriteString(conn, answer); err != nil {
				return
			}
			if then != nil {
				then(conn)
				return
			}
		}
	})
	c := onePool(func(p *PoolConfig) {
		p.Passive.Failures = 1000
		p.Timeouts.Idle = 200 * time.Millisecond
		p.Upstreams = []UpstreamConfig{{URL: upstream}}
	})
	return startEdge(t, c)
}

func closes(net.Conn) {}

func stays(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// TestAnswersPass: in every form that a body's end has.
func TestAnswersPass(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	large := strings.Repeat("large", 100_000)
	for name, test := range map[string]struct {
		answer  string
		then    func(net.Conn)
		request string
		want    []string // in this order
		not     string
	}{
		"sized":               {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", nil, get, []string{"HTTP/1.1 200 OK\r\n", "Content-Length: 2\r\n", "\r\n\r\nok"}, "chunked"},
		"empty":               {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", nil, get, []string{"HTTP/1.1 200 OK\r\n", "Content-Length: 0\r\n"}, ""},
		"chunked":             {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n2\r\nok\r\n0\r\nX-End: 1\r\n\r\n", nil, get, []string{"Transfer-Encoding: chunked\r\n", "2\r\nok\r\n0\r\n", "X-End: 1\r\n\r\n"}, "Content-Length"},
		"to the end":          {"HTTP/1.1 200 OK\r\n\r\nok", closes, get, []string{"HTTP/1.1 200 OK\r\n", "2\r\nok\r\n0\r\n\r\n"}, ""},
		"to an old client":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", nil, "GET / HTTP/1.0\r\nHost: x\r\n\r\n", []string{"200 OK\r\n", "\r\n\r\nok"}, "chunked"},
		"HEAD":                {"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", nil, "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", []string{"HTTP/1.1 200 OK\r\n", "Content-Length: 5000\r\n"}, "\r\n\r\n."},
		"204":                 {"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n", nil, get, []string{"HTTP/1.1 204 No Content\r\n", "X-A: 1\r\n"}, "Transfer-Encoding"},
		"304":                 {"HTTP/1.1 304 Not Modified\r\nEtag: \"a\"\r\nContent-Length: 100\r\n\r\n", nil, get, []string{"HTTP/1.1 304 Not Modified\r\n", "Etag: \"a\"\r\n"}, "\r\n\r\n."},
		"a status of its own": {"HTTP/1.1 299 Quite fine\r\nContent-Length: 0\r\n\r\n", nil, get, []string{"HTTP/1.1 299 Quite fine\r\n"}, ""},
		"interim before it":   {"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", nil, get, []string{"HTTP/1.1 200 OK\r\n", "\r\n\r\nok"}, ""},
		"no 101 to an upgrade": {"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", nil, "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
			[]string{"HTTP/1.1 403 Forbidden\r\n", "\r\n\r\nno"}, "HTTP/1.1 200"},
		"large": {"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" + large, nil, get, []string{"Content-Length: 500000\r\n", "\r\n\r\n" + large}, ""},

		"garbage":           {"nonsense\r\n\r\n", stays, get, []string{"HTTP/1.1 502 Bad Gateway\r\n", "upstream_failed"}, "nonsense"},
		"nothing":           {"", closes, get, []string{"HTTP/1.1 502 Bad Gateway\r\n", "upstream_failed"}, ""},
		"silence":           {"", stays, get, []string{"HTTP/1.1 504 Gateway Timeout\r\n", "upstream_timeout"}, ""},
		"half a head":       {"HTTP/1.1 200 OK\r\nContent-", closes, get, []string{"HTTP/1.1 502 Bad Gateway\r\n"}, ""},
		"a head too large":  {"HTTP/1.1 200 OK\r\nX: " + large + "\r\n\r\n", stays, get, []string{"HTTP/1.1 502 Bad Gateway\r\n"}, ""},
		"two lengths":       {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk", stays, get, []string{"HTTP/1.1 502 Bad Gateway\r\n"}, ""},
		"length and chunks": {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", stays, get, []string{"Transfer-Encoding: chunked\r\n", "2\r\nok\r\n0\r\n\r\n"}, "Content-Length"},
		"interim for ever":  {strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 200), stays, get, []string{"HTTP/1.1 502 Bad Gateway\r\n"}, ""},
		"101 to no upgrade": {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", stays, get, []string{"HTTP/1.1 502 Bad Gateway\r\n"}, "HTTP/1.1 101"},
	} {
		t.Run(name, func(t *testing.T) {
			e := answering(t, test.answer, test.then)
			got := e.raw(test.request)
			rest := got
			for _, want := range test.want {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Fatalf("%.400q lacks %.100q, or has it too early", got, want)
				}
				rest = after
			}
			if test.not != "" && strings.Contains(got, test.not) {
				t.Errorf("%.400q has %q", got, test.not)
			}
			eventually(t, "its place is given back", func() bool { return e.Active() == 0 && e.Pools()[0].Upstreams[0].Active == 0 })
		})
	}
}

// TestBrokenBodiesAreNotMadeWhole: a client has to see that it has not all.
func TestBrokenBodiesAreNotMadeWhole(t *testing.T) {
	for name, answer := range map[string]string{
		"sized, small":     "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\npart",
		"sized, large":     "HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\npart",
		"chunked":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
		"a trailer":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\nnonsense\r\n\r\n",
		"a trailer's name": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\nX A: 1\r\n\r\n",
		"a chunk's end":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npartX\n0\r\n\r\n",
		"in a chunk":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\npart",
	} {
		t.Run(name, func(t *testing.T) {
			e := answering(t, answer, closes)
			response, err := e.client().Get(e.url("/"))
			if err != nil {
				return // no answer at all is clear enough
			}
			defer response.Body.Close()
			if body, err := io.ReadAll(response.Body); err == nil && response.StatusCode == 200 {
				t.Errorf("a whole answer %q", body)
			}
		})
	}
}

// TestUnaskedAnswersReachNobody: what an upstream says behind an answer is not
// the next request's.
func TestUnaskedAnswersReachNobody(t *testing.T) {
	e := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", nil)
	c := e.client()
	for range 5 {
		if _, body := get(t, c, e.url("/")); body != "ok" {
			t.Errorf("%q", body)
		}
	}
}
