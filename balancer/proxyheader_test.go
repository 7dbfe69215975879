package balancer

import (
	"bufio"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

// announcedServer wants a PROXY header of every connection and tells whose it
// was said to be, and the number of the connection.
type announcedServer struct {
	*httptest.Server
	checks sync.Map // commands of the connections that asked for /health
}

type connKey struct{}

func startAnnounced(t *testing.T, withTLS bool) *announcedServer {
	s := &announcedServer{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn := r.Context().Value(connKey{}).(announcedConn)
		if r.URL.Path == "/health" {
			s.checks.Store(conn.command(), true)
			return
		}
		if r.Header.Get("Upgrade") != "" {
			raw, ahead, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer raw.Close()
			fmt.Fprintf(raw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n%s\n", r.RemoteAddr)
			_, _ = io.Copy(raw, ahead)
			return
		}
		fmt.Fprintf(w, "%s %d", r.RemoteAddr, conn.number)
	}))
	s.Listener = &proxyproto.Listener{Listener: s.Listener, ConnPolicy: func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) { return proxyproto.REQUIRE, nil }}
	var numbers atomic.Int64
	s.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, announcedConn{c, numbers.Add(1)})
	}
	if withTLS {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

type announcedConn struct {
	net.Conn
	number int64
}

func (c announcedConn) command() string {
	conn := c.Conn
	if under, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = under.NetConn()
	}
	header := conn.(*proxyproto.Conn).ProxyHeader()
	return fmt.Sprint(header.Version, " ", header.Command.IsLocal(), " ", header.TransportProtocol.IsUnspec())
}

func TestAConnectionThatWasAnnouncedServesItsClientOnly(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			server := startAnnounced(t, false)
			e := startEdge(t, onePool(func(p *PoolConfig) { p.ProxyProtocol = version }, server.Server))
			seen := map[string]string{} // connections by client
			clients := []net.Conn{e.dial(), e.dial()}
			readers := make([]*bufio.Reader, len(clients))
			for i, conn := range clients {
				defer conn.Close()
				readers[i] = bufio.NewReader(conn)
			}
			for range 3 {
				for i, conn := range clients {
					if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
						t.Fatal(err)
					}
					response, err := http.ReadResponse(readers[i], nil)
					if err != nil {
						t.Fatal(err)
					}
					body, _ := io.ReadAll(response.Body)
					who, number, _ := strings.Cut(string(body), " ")
					if who != conn.LocalAddr().String() {
						t.Errorf("%s was announced as %s", conn.LocalAddr(), who)
					}
					if before, had := seen[who]; had && before != number {
						t.Errorf("the client came over connection %s, then %s", before, number)
					}
					seen[who] = number
				}
			}
			if len(seen) != 2 || seen[clients[0].LocalAddr().String()] == seen[clients[1].LocalAddr().String()] {
				t.Errorf("the connections of the clients: %v", seen)
			}
		})
	}
}

func TestUpgradesAndTLSAreAnnouncedToo(t *testing.T) {
	t.Run("an upgrade", func(t *testing.T) {
		server := startAnnounced(t, false)
		e := startEdge(t, onePool(func(p *PoolConfig) { p.ProxyProtocol = "v2" }, server.Server))
		conn := e.dial()
		defer conn.Close()
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		reader := bufio.NewReader(conn)
		response, err := http.ReadResponse(reader, nil)
		if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(response, err)
		}
		if who, _ := reader.ReadString('\n'); strings.TrimSpace(who) != conn.LocalAddr().String() {
			t.Errorf("announced as %q", who)
		}
	})
	t.Run("TLS", func(t *testing.T) {
		server := startAnnounced(t, true)
		e := startEdge(t, onePool(func(p *PoolConfig) {
			p.ProxyProtocol = "v2"
			p.TLS = TLSConfig{CAFile: authority(t, server.Server), ServerName: "example.com"}
		}, server.Server))
		if response, body := get(t, e.client(), e.url("/")); response.StatusCode != http.StatusOK || !strings.HasPrefix(body, "127.0.0.1:") {
			t.Errorf("%s %s", response.Status, body)
		}
	})
}

func TestChecksAreAnnouncedAsTheEdgesOwn(t *testing.T) {
	for version, want := range map[string]string{"v1": "1 true true", "v2": "2 true true"} {
		server := startAnnounced(t, false)
		startEdge(t, onePool(func(p *PoolConfig) {
			p.ProxyProtocol = version
			p.Health = HealthConfig{Path: "/health", Interval: 20 * time.Millisecond}
		}, server.Server))
		eventually(t, version+" is announced as "+want, func() bool { _, ok := server.checks.Load(want); return ok })
	}
}

// authority is a file with the certificate of a server that signed its own.
func authority(t *testing.T, s *httptest.Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
