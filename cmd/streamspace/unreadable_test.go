package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"
	"go.uber.org/zap"
)

func TestWhatTheServerCanNotTakeInIsToldAsAProblem(t *testing.T) {
	l := fasthttputil.NewInmemoryListener()
	server := &fasthttp.Server{
		Handler: func(*fasthttp.RequestCtx) { t.Error("the request was served") }, ErrorHandler: (&edge{}).answerUnreadable,
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
