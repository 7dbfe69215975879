package main

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestConnectionsThatEndBeforeARequestAreCounted: each handshake that fails and
// each stray PROXY header, whatever the server offers by ALPN, and no handshake
// that is good.
func TestConnectionsThatEndBeforeARequestAreCounted(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for reason, arrive := range map[string]func(t *testing.T, address string){
			"": func(t *testing.T, address string) {
				conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
					t.Fatalf("%q, %v", answer, err)
				}
			},
			clientRefused: func(t *testing.T, address string) {
				if conn, err := tls.Dial("tcp", address, &tls.Config{}); err == nil {
					conn.Close()
					t.Fatal("an unknown certificate is trusted")
				}
			},
			noAgreement: func(t *testing.T, address string) {
				if conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
					conn.Close()
					t.Fatal("TLS 1.1 is served")
				}
			},
			clientLeft:  func(t *testing.T, address string) { send(t, address, "") },
			plainHTTP:   func(t *testing.T, address string) { send(t, address, "GET / HTTP/1.1\r\n\r\n") },
			notTLS:      func(t *testing.T, address string) { send(t, address, "\x00\x00\x00\x00\x00\x00") },
			proxyHeader: func(t *testing.T, address string) { send(t, address, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n") },
		} {
			e, logged := arrivalsEdge(t)
			e.config.Listen.HTTP2 = http2
			tcp, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if e.certificates, err = selfSigned(t.TempDir(), []string{"127.0.0.1"}); err != nil {
				t.Fatal(err)
			}
			e.public = []net.Listener{tcp}
			if err := e.secure(t.Context()); err != nil {
				t.Fatal(err)
			}
			server := e.newPublicServer(func(*fasthttp.RequestCtx) {})
			if http2 {
				server.NextProto(protocolHTTP2, func(c net.Conn) error { return c.Close() })
			}
			served := make(chan error, 1)
			go func() { served <- server.Serve(e.public[0]) }()
			arrive(t, tcp.Addr().String())
			if err := server.ShutdownWithContext(t.Context()); err != nil {
				t.Error(err)
			}
			<-served

			counted := map[string]float64{}
			for _, r := range []string{clientLeft, clientRefused, tooSlow, plainHTTP, proxyHeader, notTLS, noAgreement} {
				if n := testutil.ToFloat64(e.arrivals.handshakes.WithLabelValues(r)); n > 0 {
					counted[r] = n
				}
			}
			if reason == "" && len(counted) != 0 || reason != "" && (len(counted) != 1 || counted[reason] != 1) {
				t.Errorf("http2 %t, %q: counted %v", http2, reason, counted)
			}
			lines, silent := logged.All(), reason == "" || reason == clientLeft
			if silent && len(lines) != 0 || !silent && len(lines) != 1 {
				t.Errorf("http2 %t, %q: logged %v", http2, reason, lines)
			}
			if reason == proxyHeader && (len(lines) != 1 || lines[0].Message != "this looks like a PROXY header from 127.0.0.1, which listen.proxy_protocol does not name" ||
				testutil.ToFloat64(e.arrivals.headers.WithLabelValues(untrustedHeader)) != 1) {
				t.Errorf("a stray PROXY header: %v", lines)
			}
		}
	}
}

func arrivalsEdge(t *testing.T) (*edge, *observer.ObservedLogs) {
	core, logged := observer.New(zap.InfoLevel)
	log := zap.New(core)
	e := &edge{config: defaultEdgeConfig(), log: zap.NewNop(), registry: prometheus.NewRegistry(), balancer: noPools(t)}
	e.arrivals = newArrivals(log, e.registry)
	return e, logged
}

// send says something to a server and waits until it has closed the connection.
func send(t *testing.T, address, text string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, conn)
}

// TestArrivalsAreToldOnceAMinute, with how many were not told.
func TestArrivalsAreToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, logged := arrivalsEdge(t)
		from := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1234}
		for range 5 {
			e.arrivals.headerStray(from)
			e.arrivals.handshakeFailed(from, errPlainHTTP)
		}
		if n := logged.Len(); n != 2 {
			t.Fatalf("%d lines, want one of each reason", n)
		}
		time.Sleep(hintEvery)
		e.arrivals.headerStray(from)
		last := logged.All()[logged.Len()-1].ContextMap()
		if logged.Len() != 3 || last["untold"] != int64(4) || last["client"] != "192.0.2.7" {
			t.Errorf("after a minute: %d lines, %v", logged.Len(), last)
		}
	})
}
