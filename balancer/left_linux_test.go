package balancer

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// TestAnUpgradeWhoseClientIsResetGivesItsPlaceBack: also where the server had an
// earlier answer for it, can't send that, and so never hands the connection over.
func TestAnUpgradeWhoseClientIsResetGivesItsPlaceBack(t *testing.T) {
	asked, reset := make(chan struct{}), make(chan struct{})
	upstream := rawServer(t, func(conn net.Conn, r *bufio.Reader) {
		for {
			switch h := head(r); {
			case h == "":
				return
			case strings.HasPrefix(h, "GET /ws "):
				close(asked)
				<-reset
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
				_, _ = io.Copy(io.Discard, r)
				return
			default:
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		}
	})
	e := startEdge(t, onePool(func(p *PoolConfig) { p.Upstreams = []UpstreamConfig{{URL: upstream, MaxConnections: 5}} }))
	conn := e.dial()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	<-asked
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
	close(reset)
	eventually(t, "its place is given back", func() bool { return e.Active() == 0 && e.Pools()[0].Upstreams[0].Active == 0 })
}
