package balancer

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// recorder is an upstream that answers every request, parsed as Go's server
// does, with what it saw.
type recorder struct {
	mu   sync.Mutex
	seen []string
}

func (rec *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.seen = append(rec.seen, fmt.Sprintf("%s %s %s %q %v", r.Method, r.Host, r.RequestURI, body, err))
}

func (rec *recorder) take() []string {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	seen := rec.seen
	rec.seen = nil
	return seen
}

// TestAmbiguousRequestsAreRefused: what two parsers could take for different
// requests reaches no upstream, and nothing behind it does.
func TestAmbiguousRequestsAreRefused(t *testing.T) {
	rec := &recorder{}
	e := startEdge(t, onePool(nil, startServer(t, rec.ServeHTTP)))
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, request := range map[string]string{
		"length and chunks":          "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunks and length":          "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"two lengths":                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
		"two equal lengths":          "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
		"a list of lengths":          "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nabcde",
		"a signed length":            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nabcde",
		"a negative length":          "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\nabcde",
		"a length in hex":            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nabcde",
		"a length too large":         "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\nabcde",
		"space before the colon":     "POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nabcde",
		"tab before the colon":       "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
		"chunked twice":              "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunked and more":           "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"chunked and identity":       "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
		"an unknown encoding":        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"a quoted encoding":          "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
		"an encoding with a control": "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
		"an encoding in HTTP/1.0":    "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a folded header":            "POST / HTTP/1.1\r\nHost: x\r\nX: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a folded encoding":          "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
		"two hosts":                  "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
		"no host":                    "GET / HTTP/1.1\r\n\r\n",
		"a NUL in a header":          "GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
		"a bare CR in a header":      "GET / HTTP/1.1\r\nHost: x\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n",
		"a header without a colon":   "GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
		"an empty name":              "GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n",
		"a space in the path":        "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
		"HTTP/2.0 in text":           "GET / HTTP/2.0\r\nHost: x\r\n\r\n",
		"a broken chunk size":        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n0\r\n\r\n",
		"a chunk size with a sign":   "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nabcde\r\n0\r\n\r\n",
		"a chunk size too large":     "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\na\r\n0\r\n\r\n",
		"a chunk that is too long":   "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcde\r\n0\r\n\r\n",
		"CONNECT":                    "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n",
		"h2c":                        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
		"the preface of HTTP/2":      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			got := e.raw(request + smuggled)
			for _, seen := range rec.take() {
				if !strings.HasSuffix(seen, "unexpected EOF") { // a body that broke off is no request served
					t.Errorf("the upstream saw %s", seen)
				}
			}
			if !strings.HasPrefix(got, "HTTP/1.1 4") && !strings.HasPrefix(got, "HTTP/1.1 5") && got != "" {
				t.Errorf("answered %q", got)
			}
			if strings.Count(got, "HTTP/1.1 ") > 1 {
				t.Errorf("the connection went on: %q", got)
			}
		})
	}
}

// TestMessagesPassAsTheyMean: what is passed on, an upstream parses as the edge did.
func TestMessagesPassAsTheyMean(t *testing.T) {
	heads := make(chan string, 10)
	upstream := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		for {
			h := head(r)
			if h == "" {
				return
			}
			heads <- h
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nX-Public: 1\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: a=2; Path=/b\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\nok")
		}
	})
	c := onePool(nil)
	c.Pools[0].Upstreams = []UpstreamConfig{{URL: upstream}}
	e := startEdge(t, c)
	trusting := c
	trusting.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for name, test := range map[string]struct {
		request  string
		trust    bool
		has, not []string // of the request that the upstream gets
	}{
		"hop by hop": {"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, X-Hop, Host, Content-Length\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nTE: trailers, deflate\r\nX-End: 1\r\n\r\n",
			false, []string{"Host: x\r\n", "X-End: 1\r\n", "Te: trailers\r\n"}, []string{"X-Hop", "Keep-Alive", "Proxy-", "deflate", "Connection"}},
		"the path as it came": {"GET /a%2Fb//c/../d?x=%20&y HTTP/1.1\r\nHost: x\r\n\r\n", false, []string{"GET /a%2Fb//c/../d?x=%20&y HTTP/1.1\r\n"}, nil},
		"an absolute form":    {"GET http://desk.example.org/p?q HTTP/1.1\r\nHost: other.example.org\r\n\r\n", false, []string{"GET /p?q HTTP/1.1\r\n", "Host: desk.example.org\r\n"}, []string{"other"}},
		"OPTIONS *":           {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", false, []string{"OPTIONS "}, nil},
		"an old client":       {"GET / HTTP/1.0\r\nHost: x\r\n\r\n", false, []string{"GET / HTTP/1.1\r\n"}, nil},
		"a stranger's word": {"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nX-Request-Id: mine\r\n\r\n",
			false, []string{"X-Forwarded-For: 127.0.0.1\r\n", "X-Forwarded-Proto: http\r\n", "X-Forwarded-Host: x\r\n"}, []string{"1.2.3.4", "evil", "Forwarded: ", "X-Request-Id: mine", "X-Forwarded-Port"}},
		"a trusted proxy's word": {"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: public\r\nForwarded: for=1.2.3.4\r\nX-Request-Id: mine\r\n\r\n",
			true, []string{"X-Forwarded-For: 1.2.3.4, 127.0.0.1\r\n", "X-Forwarded-Proto: https\r\n", "X-Forwarded-Host: public\r\n", "Forwarded: for=1.2.3.4, for=127.0.0.1;host=\"x\";proto=http\r\n", "X-Request-Id: mine\r\n"}, nil},
		"no defaults": {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", false, []string{"Content-Length: 0\r\n"}, []string{"Content-Type", "User-Agent"}},
		"cookies":     {"GET / HTTP/1.1\r\nHost: x\r\nCookie: a=1; b=\"x y\"; c\r\n\r\n", false, []string{"Cookie: a=1; b=\"x y\"; c\r\n"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if test.trust {
				e.Load(trusting)
				defer e.Load(c)
			}
			answer := e.raw(test.request)
			h := <-heads
			for _, want := range test.has {
				if !strings.Contains(h, want) {
					t.Errorf("the upstream got\n%s, without %q", h, want)
				}
			}
			for _, no := range test.not {
				if strings.Contains(h, no) {
					t.Errorf("the upstream got\n%s, with %q", h, no)
				}
			}
			for _, want := range []string{"X-Public: 1\r\n", "Set-Cookie: a=1; Path=/\r\n", "Set-Cookie: a=2; Path=/b\r\n", "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n", "\r\n\r\nok"} {
				if !strings.Contains(answer, want) {
					t.Errorf("the client got\n%s, without %q", answer, want)
				}
			}
			for _, no := range []string{"X-Private", "Keep-Alive", "Proxy-Auth", "Content-Type"} {
				if strings.Contains(answer, no) {
					t.Errorf("the client got\n%s, with %q", answer, no)
				}
			}
		})
	}
}
