package e2e

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

// kept is a connection of a client that keeps it.
type kept struct {
	net.Conn
	reader *bufio.Reader
}

func (in *installation) keep() *kept {
	in.t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(in.URL, "https://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		in.t.Fatal(err)
	}
	in.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &kept{conn, bufio.NewReader(conn)}
}

func (k *kept) post(path string) (*http.Response, error) {
	if _, err := fmt.Fprintf(k, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nsome", path); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(k.reader, nil)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return response, err
}

// TestAnEdgeThatLeavesAnswersOnIdleConnections: and says that they close with that;
// one on which nobody asks for anything is closed in a while, and the edge leaves.
func TestAnEdgeThatLeavesAnswersOnIdleConnections(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer upstream.Close()
	in := startEdge(t, fmt.Sprintf("drain: {timeout: 60s}\npools: [{name: web, upstreams: [{url: %q}]}]\nroutes: [{path: /app/, pool: web}]\n", upstream.URL))
	pools, pages, silent := in.keep(), in.keep(), in.keep()
	for _, k := range []*kept{pools, pages, silent} {
		if response, err := k.post("/app/x"); err != nil || response.StatusCode != http.StatusOK || response.Close {
			t.Fatalf("before: %v, %v", response, err)
		}
	}
	in.process.signal(syscall.SIGTERM)
	eventually(t, "the edge takes no more connections", func() error {
		conn, err := net.Dial("tcp", strings.TrimPrefix(in.URL, "https://"))
		if err == nil {
			_ = conn.Close()
			return errors.New("it does")
		}
		return nil
	})
	for path, k := range map[string]*kept{"/app/x": pools, "/api/v1/nothing": pages} {
		response, err := k.post(path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if !response.Close {
			t.Errorf("%s: %s says that the connection stays", path, response.Status)
		}
		if _, err := k.reader.ReadByte(); err != io.EOF {
			t.Errorf("%s: behind the answer: %v", path, err)
		}
	}
	if _, err := silent.reader.ReadByte(); err != io.EOF {
		t.Errorf("the silent one: %v", err)
	}
	if status := in.process.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}
