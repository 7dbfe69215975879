package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/streamspace-dev/streamspace-edge/balancer"
	"github.com/streamspace-dev/streamspace-edge/proxy/reactor"
)

// single is a listener of one connection.
type single struct{ conn net.Conn }

func (l single) Accept() (net.Conn, error) { return l.conn, nil }
func (l single) Close() error              { return nil }
func (l single) Addr() net.Addr            { return &net.TCPAddr{} }

// visited runs visit as a client of a public server, over a connection in
// memory, so that its deadlines are of virtual time.
func visited(t *testing.T, handler fasthttp.RequestHandler, visit func(t *testing.T, conn net.Conn, timeouts timeoutsConfig)) {
	_ = new(fasthttp.ResponseHeader).String() // starts fasthttp's clock, which never ends, outside of the bubble
	b := noPools(t)
	synctest.Test(t, func(t *testing.T) {
		e := &edge{config: defaultEdgeConfig(), log: zap.NewNop(), balancer: b}
		server := e.newPublicServer(handler)
		near, far := net.Pipe()
		accepted, err := reactor.Lend(e.wait(single{far})).Accept()
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() {
			served <- server.ServeConn(accepted)
			_ = accepted.Close()
		}()
		visit(t, near, e.config.Timeouts)
		_ = near.Close()
		<-served
	})
}

// noPools is a balancer that has none.
func noPools(t *testing.T) *balancer.Balancer {
	b := balancer.New(balancer.Options{Metrics: balancer.NewMetrics(prometheus.NewRegistry())})
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b
}

func count(ctx *fasthttp.RequestCtx) {
	if !ctx.Request.IsBodyStream() {
		return
	}
	n, err := io.Copy(io.Discard, ctx.RequestBodyStream())
	if err != nil {
		ctx.SetStatusCode(http.StatusRequestTimeout)
		ctx.SetConnectionClose()
	}
	fmt.Fprint(ctx, n)
}

func TestBodiesMayTakeTheirTimeWhileTheyMove(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		piece  string
	}{
		"of a known size":    {fmt.Sprintf("Content-Length: %d", 600*1000), strings.Repeat("x", 1000)},
		"of one that is not": {"Transfer-Encoding: chunked", "3e8\r\n" + strings.Repeat("x", 1000) + "\r\n"},
		"a form":             {fmt.Sprintf("Content-Type: multipart/form-data; boundary=x\r\nContent-Length: %d", 600*1000), strings.Repeat("x", 1000)},
	} {
		t.Run(name, func(t *testing.T) {
			visited(t, count, func(t *testing.T, conn net.Conn, _ timeoutsConfig) {
				began := time.Now()
				send := func(text string) {
					if _, err := io.WriteString(conn, text); err != nil {
						t.Fatalf("after %s: %v", time.Since(began), err)
					}
				}
				send("POST / HTTP/1.1\r\nHost: a\r\n" + c.header + "\r\n\r\n")
				for range 600 {
					time.Sleep(time.Second)
					send(c.piece)
				}
				if strings.Contains(c.header, "chunked") {
					send("0\r\n\r\n")
				}
				response, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(response.Body)
				if response.StatusCode != http.StatusOK || string(body) != "600000" {
					t.Errorf("%s: %s", response.Status, body)
				}
			})
		})
	}
}

func TestWhoStandsStillIsSentAway(t *testing.T) {
	const upload = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
	for name, c := range map[string]struct {
		says  []string // a second apart
		limit func(timeoutsConfig) duration
		from  time.Duration // of the limit
		whole bool          // the answer is one to the request
	}{
		"saying nothing":           {nil, func(c timeoutsConfig) duration { return c.Header }, 0, false},
		"amid a header":            {[]string{"GET / HT"}, func(c timeoutsConfig) duration { return c.Header }, 0, false},
		"a byte a second":          {strings.Split("GET / HTTP/1.1\r\nHost: a.example.org\r\n\r\n", ""), func(c timeoutsConfig) duration { return c.Header }, 0, false},
		"before a body":            {[]string{upload}, func(c timeoutsConfig) duration { return c.Body }, 0, false},
		"amid a body":              {[]string{upload, "x", "x", "x"}, func(c timeoutsConfig) duration { return c.Body }, 3 * time.Second, false},
		"amid a body that streams": {[]string{upload, strings.Repeat("x", 90000)}, func(c timeoutsConfig) duration { return c.Body }, time.Second, false},
		"between requests":         {[]string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n"}, func(c timeoutsConfig) duration { return c.Idle }, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			visited(t, count, func(t *testing.T, conn net.Conn, timeouts timeoutsConfig) {
				began := time.Now()
				said := make(chan struct{})
				go func() {
					defer close(said)
					for i, text := range c.says {
						if i > 0 {
							time.Sleep(time.Second)
						}
						if _, err := io.WriteString(conn, text); err != nil {
							return
						}
					}
				}()
				answer, _ := io.ReadAll(conn)
				took := time.Since(began)
				_ = conn.Close()
				<-said
				limit := c.limit(timeouts).std() + c.from
				if early := limit - time.Second; took < early || took > limit { // a deadline may be a second old
					t.Errorf("it was ended after %s, not %s", took, limit)
				}
				if c.whole != strings.HasPrefix(string(answer), "HTTP/1.1 200") {
					t.Errorf("it got %q", answer)
				}
			})
		})
	}
}

func TestAnswersMayTakeTheirTimeWhileTheyMove(t *testing.T) {
	large := strings.Repeat("x", 600*1000)
	visited(t, func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString(large) }, func(t *testing.T, conn net.Conn, timeouts timeoutsConfig) {
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		var b [1000]byte
		for got := 0; got < len(large); {
			time.Sleep(time.Second)
			n, err := conn.Read(b[:])
			if err != nil {
				t.Fatalf("after %d bytes: %v", got, err)
			}
			got += n
		}
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		time.Sleep(3 * timeouts.Write.std())
		if rest, _ := io.ReadAll(conn); len(rest) > 0 {
			t.Errorf("who took nothing for %s still got %d bytes", 3*timeouts.Write.std(), len(rest))
		}
	})
}
