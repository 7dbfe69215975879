package balancer

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAnUpstreamReportsItsOwnWeightAndDrain(t *testing.T) {
	for text, want := range map[string]Answer{
		"":                                               {},
		"Streamspace-Weight: 0":                          {Weighted: true},
		"streamspace-weight:  256 ":                      {Weighted: true, Weight: 256},
		"Streamspace-Drain: 1":                           {Drain: true},
		"Streamspace-Drain: 0":                           {},
		"Streamspace-Drain: true":                        {},
		"Streamspace-Weight: 257":                        {},
		"Streamspace-Weight: -1":                         {},
		"Streamspace-Weight: +1":                         {},
		"Streamspace-Weight: 1.5":                        {},
		"Streamspace-Weight: ten":                        {},
		"Streamspace-Weight: 99999999":                   {},
		"Streamspace-Weight:":                            {},
		"X: 1\r\nStreamspace-Weight: 7":                  {Weighted: true, Weight: 7},
		"Streamspace-Weight: 1\r\nStreamspace-Weight: 2": {},
		"Streamspace-Drain: 1\r\nStreamspace-Drain: 1":   {},
		"Streamspace-Weight: x\r\nStreamspace-Drain: 1":  {Drain: true},
		"Streamspace-Weight: 12\r\nStreamspace-Drain: 1\r\nConnection: bye": {Weighted: true, Weight: 12, Drain: true},
	} {
		if text != "" {
			text += "\r\n"
		}
		what, answer, err := asked(HealthConfig{Path: "/"}, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"+text+"\r\n")
		if err != nil || what != "answered 200" || answer != want {
			t.Errorf("%q: %q %+v, %v; want %+v", text, what, answer, err, want)
		}
	}
	if _, answer, err := asked(HealthConfig{Path: "/"}, "HTTP/1.1 500 Oh\r\nStreamspace-Weight: 5\r\nStreamspace-Drain: 1\r\n\r\n"); err == nil || answer != (Answer{}) {
		t.Errorf("a bad answer told %+v, %v", answer, err)
	}
}

func TestAnswersAreJudgedByStatusAndBody(t *testing.T) {
	long := strings.Repeat("x", 64<<10)
	tests := map[string]struct {
		config HealthConfig
		answer string
		want   string // what or error
	}{
		"a redirect is an answer":         {HealthConfig{}, "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", "answered 302"},
		"unless it is not wanted":         {HealthConfig{Status: "200"}, "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "answered 302, not 200"},
		"a bad status needs no body":      {HealthConfig{}, "HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\n", "answered 500, not 200-399"},
		"a status that is asked for":      {HealthConfig{Status: "200,401"}, "HTTP/1.1 401 Who\r\nContent-Length: 0\r\n\r\n", "answered 401"},
		"103 comes ahead":                 {HealthConfig{}, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 None\r\n\r\n", "answered 204"},
		"100 comes ahead of a failure":    {HealthConfig{}, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Gone\r\n\r\n", "answered 404, not 200-399"},
		"only 100":                        {HealthConfig{}, "HTTP/1.1 100 Continue\r\n\r\n", "closed the connection without an answer"},
		"101 is no answer":                {HealthConfig{}, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "answered 101, not 200-399"},
		"HTTP/1.0":                        {HealthConfig{Body: "ok"}, "HTTP/1.0 200 OK\r\n\r\nit is ok", "answered 200"},
		"the body":                        {HealthConfig{Body: "ok"}, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "answered 200"},
		"the body in chunks":              {HealthConfig{Body: "okay"}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n2\r\nay\r\n0\r\n\r\n", "answered 200"},
		"another body":                    {HealthConfig{Body: "ok"}, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad", `answered 200 without "ok" in the first 64 KiB`},
		"at the end of the first 64 KiB":  {HealthConfig{Body: "ok"}, "HTTP/1.1 200 OK\r\n\r\n" + long[2:] + "ok" + long, "answered 200"},
		"across the end of them":          {HealthConfig{Body: "ok"}, "HTTP/1.1 200 OK\r\n\r\n" + long[1:] + "ok" + long, `answered 200 without "ok" in the first 64 KiB`},
		"a body that ends too early":      {HealthConfig{}, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "closed the connection amid its answer"},
		"after 64 KiB nothing is missing": {HealthConfig{}, "HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + long, "answered 200"},
		"chunks that are none":            {HealthConfig{}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n", "its answer is not HTTP/1.1"},
		"a header without an end":         {HealthConfig{}, "HTTP/1.1 200 OK\r\nA: b\r\n", "closed the connection without an answer"},
		"a header that is too long":       {HealthConfig{}, "HTTP/1.1 200 OK\r\nA: " + strings.Repeat(long, 17) + "\r\n\r\n", "its answer has more than 1024 KiB of header and framing"},
		"SSH":                             {HealthConfig{}, "SSH-2.0-OpenSSH_9.2\r\n", "its answer is not HTTP/1.1"},
		"RFB":                             {HealthConfig{}, "RFB 003.008\n", "its answer is not HTTP/1.1"},
		"nothing":                         {HealthConfig{}, "", "closed the connection without an answer"},
	}
	for name, test := range tests {
		test.config.Path = "/"
		got, _, err := asked(test.config, test.answer)
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestTheRequestIsWhatIsConfigured(t *testing.T) {
	for want, c := range map[string]*checker{
		"GET /health?full=1 HTTP/1.1\r\nHost: 10.0.0.1:8080\r\n": {host: "10.0.0.1:8080", config: HealthConfig{Path: "/health?full=1"}},
		"GET / HTTP/1.1\r\nHost: app.example.org\r\n":            {host: "10.0.0.1:8080", config: HealthConfig{Path: "/", Host: "app.example.org"}},
	} {
		var sent strings.Builder
		_, _, _ = c.ask(struct {
			io.Reader
			io.Writer
		}{strings.NewReader(""), &sent}, c.config, nil)
		want += "User-Agent: streamspace-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
		if sent.String() != want {
			t.Errorf("asked %q, want %q", sent.String(), want)
		}
	}
}

// canned is a connection on which everything that is ever read is there.
type canned struct {
	net.Conn
	io.Reader
}

func (c canned) Read(p []byte) (int, error)  { return c.Reader.Read(p) }
func (c canned) Write(p []byte) (int, error) { return len(p), nil }
func (c canned) Close() error                { return nil }

// asked is one check of an upstream that sends answer and ends.
func asked(config HealthConfig, answer string) (what string, a Answer, err error) {
	config = config.withDefaults()
	good, err := parseStatus(config.Status)
	if err != nil {
		return "", a, err
	}
	c := &checker{dial: func(context.Context, string, string) (net.Conn, error) {
		return canned{Reader: strings.NewReader(answer)}, nil
	}}
	return c.check(context.Background(), config, good)
}

func FuzzAnswerToACheck(f *testing.F) {
	for _, seed := range []string{
		"", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 204 None\r\nStreamspace-Weight: 3\r\n\r\n", "HTTP/1.1 503 No\r\n\r\n",
		"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nStreamspace-Drain: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nStreamspace-Weight: 256\r\nStreamspace-Weight: 1\r\nContent-Length: 3\r\n\r\nok", "HTTP/1.1 999 x\r\n\r\n",
	} {
		f.Add(seed, "ok")
	}
	f.Fuzz(func(t *testing.T, answer, body string) {
		what, a, err := asked(HealthConfig{Path: "/", Body: body}, answer)
		switch {
		case err != nil && (err.Error() == "" || a != (Answer{})):
			t.Errorf("%q: %q, and told %+v", answer, err, a)
		case err == nil && (!strings.HasPrefix(what, "answered ") || !strings.Contains(answer, "HTTP/")):
			t.Errorf("%q was taken for good: %q", answer, what)
		}
		if a.Weight < 0 || a.Weight > maxWeight || (a.Weight > 0 && !a.Weighted) {
			t.Errorf("%q: %+v", answer, a)
		}
	})
}

func TestCausesAreInWords(t *testing.T) {
	network := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for want, err := range map[string]error{
		"connection refused":         network(os.NewSyscallError("connect", syscall.ECONNREFUSED)),
		"connection reset by peer":   network(os.NewSyscallError("read", syscall.ECONNRESET)),
		"no route to host":           network(os.NewSyscallError("connect", syscall.EHOSTUNREACH)),
		"there is no host web.local": network(&net.DNSError{Err: "no such host", Name: "web.local", IsNotFound: true}),
		"the host web.local can't be looked up: server misbehaving": network(&net.DNSError{Err: "server misbehaving", Name: "web.local", IsTemporary: true}),
		"no word within 5s":                      network(os.ErrDeadlineExceeded),
		"closed the connection before the word":  io.ErrUnexpectedEOF,
		"refused TLS: bad certificate":           &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")},
		"its key is not the pinned one":          errors.New("its key is not the pinned one"),
		"address 10.0.0.1: mismatched local one": network(&net.AddrError{Err: "mismatched local one", Addr: "10.0.0.1"}),
	} {
		if got := inWords(context.Background(), err, "word", 5*time.Second).Error(); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
