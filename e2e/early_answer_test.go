package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// earlyPools answer before they have read a body, each for another reason.
func earlyPools(t *testing.T) string {
	return fmt.Sprintf(`pools:
  - {name: nobody, upstreams: [{url: "http://%s"}]}
  - {name: curt, upstreams: [{url: %q}]}
routes:
  - {path: /nobody/, pool: nobody}
  - {path: /curt/, pool: curt}
  - {path: /often/, pool: curt, rate_limits: [{name: seldom, by: address, requests: 1, per: 1h}]}
`, freePort(t), curtServer(t))
}

// curtServer answers each request when it has read its head, with more than a
// small window takes at once, and closes the connection.
func curtServer(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.Repeat("no ", 10_000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				fmt.Fprintf(conn, "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(page), page)
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return "http://" + l.Addr().String()
}

var earlyAnswers = []struct {
	path   string
	status int
}{
	{"/nobody/x", http.StatusBadGateway},
	{"/curt/x", http.StatusRequestEntityTooLarge},
	{"/often/x", http.StatusTooManyRequests},
	{"/api/v1/sessions", http.StatusBadRequest}, // the API takes 1 MiB
	{"/api/v1/nothing", http.StatusNotFound},
	{"/ws/vnc", http.StatusMethodNotAllowed},
}

// startPlainEdge is startEdge without TLS.
func startPlainEdge(t *testing.T, lines string) *installation {
	folder, address, admin := t.TempDir(), freePort(t), freePort(t)
	file := writeText(t, filepath.Join(folder, "edge.yml"), fmt.Sprintf("listen: {http: %q, admin: %q}\ntls: {off: true}\nstore: {sqlite: {path: %q}}\n%s",
		address, admin, filepath.Join(folder, "s.db"), lines))
	in := &installation{t: t, URL: "http://" + address, AdminURL: "http://" + admin, process: start(t, "edge", "--config", file)}
	in.serves(folder)
	return in
}

// small lets a socket take next to nothing that nobody has read.
func small(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10)
	})
}

// upload sends all of a body before it reads anything, as simple clients do.
func (in *installation) upload(path, framing string, size int) (*http.Response, error) {
	scheme, address, _ := strings.Cut(in.URL, "://")
	dialer := &net.Dialer{Control: small}
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if scheme == "https" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n%s\r\n\r\n", path, in.APIKey, framing); err != nil {
		return nil, err
	}
	const atOnce = 64 << 10
	part := bytes.Repeat([]byte("x"), atOnce)
	if strings.Contains(framing, "chunked") {
		part = fmt.Appendf(nil, "%x\r\n%s\r\n", atOnce, part)
	}
	for sent := 0; sent < size; sent += atOnce {
		if _, err := conn.Write(part); err != nil {
			return nil, fmt.Errorf("after %d bytes of the body: %w", sent, err)
		}
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return response, err
}

// TestAnEarlyAnswerReachesWhoIsStillSending: a client that sends all of a large
// body first, without Expect, gets the answer that was there long before.
func TestAnEarlyAnswerReachesWhoIsStillSending(t *testing.T) {
	const large, often = 64 << 20, 2 << 20
	for name, startOne := range map[string]func(*testing.T, string) *installation{
		"plain": startPlainEdge,
		"TLS":   func(t *testing.T, lines string) *installation { return startEdge(t, lines) },
	} {
		t.Run(name, func(t *testing.T) {
			in := startOne(t, earlyPools(t))
			in.call("GET", "/often/x", nil, http.StatusRequestEntityTooLarge, nil) // uses the rate up
			check := func(path, framing string, size, status int) {
				t.Helper()
				response, err := in.upload(path, framing, size)
				if err != nil {
					t.Fatalf("%s, %s: %v", path, framing, err)
				}
				if response.StatusCode != status {
					t.Fatalf("%s, %s: %s, want %d", path, framing, response.Status, status)
				}
			}
			for _, c := range earlyAnswers {
				check(c.path, fmt.Sprintf("Content-Length: %d", large), large, c.status)
				check(c.path, "Transfer-Encoding: chunked", large, c.status)
			}
			for i := range 200 {
				c := earlyAnswers[i%len(earlyAnswers)]
				check(c.path, fmt.Sprintf("Content-Length: %d", often), often, c.status)
			}
		})
	}
}

// TestTheAccessLogTellsWhatWasReadOfABody: also of those for the edge's own pages,
// and of one that its client breaks off.
func TestTheAccessLogTellsWhatWasReadOfABody(t *testing.T) {
	log := filepath.Join(t.TempDir(), "access.log")
	in := startPlainEdge(t, fmt.Sprintf("access_log: {file: %q}\n%s", log, earlyPools(t)))
	const announced = 64 << 20
	for _, path := range []string{"/api/v1/sessions", "/nobody/x"} {
		if _, err := in.upload(path, fmt.Sprintf("Content-Length: %d", announced), announced); err != nil {
			t.Fatal(err)
		}
	}
	in.call("POST", "/api/v1/login", map[string]string{"key": "none"}, http.StatusForbidden, nil) // it has no Origin
	conn, err := net.Dial("tcp", strings.TrimPrefix(in.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /api/v1/sessions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", announced, strings.Repeat("x", 100_000))
	_ = conn.Close()
	const api = 1<<20 + 1 // the first byte that is too many is the last that is read
	eventually(t, "the access log tells of all", func() error {
		var got []string
		for _, one := range accessLog(t, log) {
			if one.Method == "POST" || one.Status == 499 {
				got = append(got, fmt.Sprint(one.Path, " ", one.Status, " ", one.BytesIn))
			}
		}
		slices.Sort(got)
		want := []string{" 499 0", fmt.Sprint("/api/v1/login 403 ", len(`{"key":"none"}`)), fmt.Sprint("/api/v1/sessions 400 ", api), "/nobody/x 502 0"}
		if !slices.Equal(got, want) {
			return fmt.Errorf("it tells %q, want %q", got, want)
		}
		return nil
	})
}

// TestAnEarlyAnswerReachesWhoIsStillSendingByHTTP2: where the answer would be lost
// within the edge.
func TestAnEarlyAnswerReachesWhoIsStillSendingByHTTP2(t *testing.T) {
	in := startEdge(t, earlyPools(t))
	in.call("GET", "/often/x", nil, http.StatusRequestEntityTooLarge, nil)
	web := http2Client(t)
	for i := range 200 {
		c := earlyAnswers[i%len(earlyAnswers)]
		request, err := http.NewRequest("POST", in.URL+c.path, io.LimitReader(filler{}, 64<<20))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+in.APIKey)
		response, err := web.Do(request)
		if err != nil {
			t.Fatalf("%s: %v", c.path, err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Fatalf("%s: %v", c.path, err)
		}
		_ = response.Body.Close()
		if response.ProtoMajor != 2 || response.StatusCode != c.status {
			t.Fatalf("%s: %s %s, want %d", c.path, response.Proto, response.Status, c.status)
		}
	}
}

// filler is a body.
type filler struct{}

func (filler) Read(p []byte) (int, error) { return len(p), nil }
