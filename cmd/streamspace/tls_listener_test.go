package main

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestPlainHTTPToTheHTTPSPortIsToldSo, and HTTPS is served as ever.
func TestPlainHTTPToTheHTTPSPortIsToldSo(t *testing.T) {
	made, err := selfSigned(t.TempDir(), []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "served") })}
	served := make(chan error, 1)
	go func() { served <- server.Serve(newTLSListener(tcp, made.serverTLS("http/1.1"))) }()
	defer func() { server.Close(); <-served }()
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for _, c := range []struct {
		scheme, header string
		status         int
		says           string
	}{
		{"http", "", http.StatusBadRequest, "This port speaks HTTPS"},
		{"http", strings.Repeat("x", 8000), http.StatusBadRequest, "This port speaks HTTPS"}, // more than the first read takes
		{"https", "", http.StatusOK, "served"},
	} {
		request, err := http.NewRequestWithContext(t.Context(), "GET", c.scheme+"://"+tcp.Addr().String()+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Long", c.header)
		answer, err := client.Do(request)
		if err != nil {
			t.Fatalf("%s: %v", c.scheme, err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != c.status || !strings.Contains(string(body), c.says) {
			t.Errorf("%s: %s, %q, %v; want %d that says %q", c.scheme, answer.Status, body, err, c.status, c.says)
		}
	}
}
