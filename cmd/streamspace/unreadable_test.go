package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"
	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/accesslog"
)

func TestWhatTheServerCanNotTakeInIsToldAsAProblem(t *testing.T) {
	l := fasthttputil.NewInmemoryListener()
	server := &fasthttp.Server{
		Handler: func(*fasthttp.RequestCtx) { t.Error("the request was served") }, ErrorHandler: (&edge{balancer: noPools(t)}).answerUnreadable,
		ReadBufferSize: maxHeader, StreamRequestBody: true, MaxRequestBodySize: bodyAhead, ReadTimeout: time.Second, Logger: fasthttpLog{zap.NewNop()},
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() { l.Close(); <-served }()
	large := strings.Repeat("x", 2<<20)
	for request, want := range map[string]struct {
		status int
		detail string
	}{
		"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer secret-" + large[:maxHeader] + "\r\n\r\n":   {431, "16 KiB"},
		"GET / HTTP/1.1\r\nHost: a\r\nAuthorization secret-of-somebody\r\nContent-Length: many\r\n\r\n": {400, "not valid HTTP"},
	} {
		conn, err := l.Dial()
		if err != nil {
			t.Fatal(err)
		}
		go func(conn net.Conn) { _, _ = io.WriteString(conn, request) }(conn) // the rest may not be taken
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		var problem struct {
			Status    int
			Detail    string
			Code      string
			RequestID string `json:"request_id"`
		}
		text, _ := io.ReadAll(response.Body)
		conn.Close()
		if err := json.Unmarshal(text, &problem); err != nil || response.Header.Get("Content-Type") != "application/problem+json" {
			t.Fatalf("%.60q: %s %q", request, text, response.Header)
		}
		if response.StatusCode != want.status || problem.Status != want.status || !strings.Contains(problem.Detail, want.detail) ||
			problem.Code == "" || problem.RequestID != response.Header.Get("X-Request-Id") || strings.Contains(string(text), "secret") {
			t.Errorf("%.60q: %d %s", request, response.StatusCode, text)
		}
	}
}

// TestConnectionsWithoutARequestAreNoBadOnes: over TCP, since that is where they
// end in other ways.
func TestConnectionsWithoutARequestAreNoBadOnes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access.log")
	access, err := accesslog.Open(accesslog.Options{File: file, Sample: 1, Metrics: accesslog.NewMetrics(prometheus.NewRegistry())})
	if err != nil {
		t.Fatal(err)
	}
	defer access.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{}, 1)
	server := &fasthttp.Server{
		Handler: func(*fasthttp.RequestCtx) { t.Error("the request was served") }, ErrorHandler: (&edge{access: access, balancer: noPools(t)}).answerUnreadable,
		ReadBufferSize: maxHeader, StreamRequestBody: true, MaxRequestBodySize: bodyAhead, ReadTimeout: time.Second, Logger: fasthttpLog{zap.NewNop()},
		ConnState: func(_ net.Conn, state fasthttp.ConnState) {
			if state == fasthttp.StateClosed {
				ended <- struct{}{}
			}
		},
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() { l.Close(); <-served }()
	const header = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
	for _, test := range []struct {
		said string
		end  func(*net.TCPConn)
		want string
	}{
		{"", closeHalf, ""},
		{"", reset, ""},
		{"", stay, ""},
		{"GET / HT", closeHalf, `"status":499`},
		{"GET / HTTP/1.1\r\nHost: a\r\n", closeHalf, `"status":499`},
		{header + "some", closeHalf, `"status":499`},
		{"GET / HT", stay, `"status":408`},
		{"GET /\r\nnonsense\r\n\r\n", stay, `"status":400`},
	} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, test.said)
		test.end(conn.(*net.TCPConn))
		<-ended
		conn.Close()
		_ = access.Reopen() // writes what waits
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_ = os.Truncate(file, 0)
		if test.want == "" && len(text) > 0 || !strings.Contains(string(text), test.want) {
			t.Errorf("%q: %q, want %s", test.said, text, test.want)
		}
	}
}

func closeHalf(conn *net.TCPConn) { _ = conn.CloseWrite() }

func stay(*net.TCPConn) {}

func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}
