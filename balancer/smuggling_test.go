package balancer

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// parsers are three upstreams that parse of the same bytes, each behind an edge of its own.
type parsers struct {
	t      *testing.T
	strict *strictly
	golang *lenient
	nginx  *lenient // what a real nginx passes on to a Go server
	edges  [3]*edge // in this order

}

func startParsers(t *testing.T) *parsers {
	p := &parsers{t: t, strict: startStrict(t), golang: &lenient{}, nginx: &lenient{}}
	behind := startServer(t, p.nginx.ServeHTTP)
	for i, url := range []string{p.strict.url, startServer(t, p.golang.ServeHTTP).URL, startForwardingNginx(t, behind)} {
		p.edges[i] = startEdge(t, onePool(func(c *PoolConfig) { c.Upstreams = []UpstreamConfig{{URL: url}} }))
	}
	return p
}

// startForwardingNginx passes on each request as it has understood it, whatever
// the names of its headers.
func startForwardingNginx(t *testing.T, to *httptest.Server) string {
	dir := t.TempDir()
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx" // not every shell searches there
	}
	for range 10 { // a port that was free may be taken by now
		free := httptest.NewServer(nil)
		at := free.Listener.Addr().String()
		free.Close()
		conf := fmt.Sprintf(`
daemon off; master_process off; pid %[1]s/pid; error_log stderr crit;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
  ignore_invalid_headers off; underscores_in_headers on; large_client_header_buffers 4 32k;
  server {
    listen %[2]s;
    location / { proxy_pass %[3]s; proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Connection ""; }
  }
}`, dir, at, to.URL)
		if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		process := exec.Command(program, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr", "-p", dir)
		process.Stderr = t.Output()
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { defer close(ended); _ = process.Wait() }()
		t.Cleanup(func() {
			_ = process.Process.Signal(syscall.SIGTERM)
			<-ended
		})
		for begin := time.Now(); time.Since(begin) < hang; time.Sleep(10 * time.Millisecond) {
			select {
			case <-ended:
			default:
				if response, err := http.Get("http://" + at + "/nothing"); err == nil {
					response.Body.Close()
					http.DefaultClient.CloseIdleConnections()
					return "http://" + at
				}
				continue
			}
			break
		}
	}
	t.Fatal("nginx does not start")
	return ""
}

// ask sends the same bytes to all edges, and returns what the upstreams saw and
// the edges answered.
func (p *parsers) ask(raw string) (saw [3][]message, sent int, violations []string, answers [3]string) {
	p.nginx.take()
	for i, e := range p.edges {
		answers[i] = answerTo(p.t, e.addr, raw)
	}
	saw[0], sent, violations = p.strict.take()
	saw[1], saw[2] = p.golang.take(), p.nginx.take()
	return saw, sent, violations, answers
}

// answerTo sends the bytes, of which the edge may not take all, and returns what it
// answers.
func answerTo(t testing.TB, addr, raw string) string {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(hang))
	defer conn.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.WriteString(conn, raw)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	answer, _ := io.ReadAll(conn)
	conn.Close()
	<-sent
	return string(answer)
}

// canary is the next request on the connection: whoever has another opinion of
// where the one before it ends does not see it, or sees another.
const canary = "GET /canary HTTP/1.1\r\nHost: x\r\n\r\n"

// refused: the edge answers by itself, and no upstream sees a whole request.
const refused = "refused"

// TestAllParsersSeeTheSameRequests: of every request that is passed on, three
// upstreams see the same method, target, host, headers and body, and then the
// next request; of every other none sees anything whole.
func TestAllParsersSeeTheSameRequests(t *testing.T) {
	p := startParsers(t)
	for _, test := range smugglingCases() {
		t.Run(test.name, func(t *testing.T) {
			saw, sent, violations, answers := p.ask(test.raw + canary)
			for _, v := range violations {
				t.Errorf("an upstream was sent %s", v)
			}
			if test.want == refused {
				p.refused(t, test.halfway, saw, sent, answers)
				return
			}
			for i := range saw {
				want := []string{test.want, `GET /canary x ""`}
				if test.closes {
					want = want[:1]
				}
				if test.itself[i] {
					want = want[1:]
				}
				var got []string
				for _, m := range saw[i] {
					got = append(got, m.line())
				}
				if !slices.Equal(got, want) {
					t.Errorf("upstream %d saw %q, want %q; the edge answered %.300q", i, got, want, answers[i])
				}
			}
			if t.Failed() || test.itself != [3]bool{} {
				return
			}
			for i := range saw[0] {
				strict, golang, nginx := endToEnd(saw[0][i].header), endToEnd(saw[1][i].header), endToEnd(saw[2][i].header)
				if !maps.EqualFunc(strict, golang, slices.Equal) || !maps.EqualFunc(strict, nginx, slices.Equal) {
					t.Errorf("headers of request %d:\n%v\n%v\n%v", i, strict, golang, nginx)
				}
			}
			test.check(t, saw[0][0])
		})
	}
}

func (p *parsers) refused(t *testing.T, halfway bool, saw [3][]message, sent int, answers [3]string) {
	for i := range saw {
		for _, m := range saw[i] {
			t.Errorf("upstream %d saw %s", i, m.line())
		}
		if a := answers[i]; a != "" && !strings.HasPrefix(a, "HTTP/1.1 4") && !strings.HasPrefix(a, "HTTP/1.1 5") || strings.Count(a, "HTTP/1.1 ") > 1 {
			t.Errorf("edge %d answered %q", i, a)
		}
	}
	if sent > 0 && !halfway {
		t.Errorf("%d bytes were passed on", sent)
	}
}

// endToEnd leaves out what is of one connection, or differs by its nature.
func endToEnd(h http.Header) http.Header {
	h = maps.Clone(h)
	for _, name := range []string{"Host", "Connection", "Content-Length", "Transfer-Encoding", "Trailer", "Te", "Upgrade", "X-Request-Id"} {
		h.Del(name)
	}
	return h
}

type smugglingCase struct {
	name, raw, want string
	closes          bool     // the edge ends the connection after it
	halfway         bool     // only the body shows that it is refused; what came before it has been passed on
	itself          [3]bool  // the upstream answers it by itself, and so can't be fooled
	has, not        []string // of "Name: value" that the upstream saw
}

func (c smugglingCase) check(t *testing.T, m message) {
	has := func(field string) bool {
		name, value, _ := strings.Cut(field, ": ")
		return slices.Contains(m.header[name], value)
	}
	for _, field := range c.has {
		if !has(field) {
			t.Errorf("%q is missing in %v", field, m.header)
		}
	}
	for _, name := range c.not {
		if _, there := m.header[name]; there {
			t.Errorf("%q is in %v", name, m.header)
		}
	}
}
