package tunnel

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestManyOpensAtOnceAllSucceed(t *testing.T) {
	for _, n := range []int{20, 200} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			e := newTLSEdge(t)
			a, _ := connected(t, e, func(o *ClientOptions) { o.Open = vncServer(t, echoServer) })
			var opens sync.WaitGroup
			for i := range n {
				opens.Go(func() {
					conn, err := e.hub.Open(deadlined(t), a.id, request(i))
					if err != nil {
						t.Errorf("open %d: %v", i, err)
						return
					}
					defer func() { _ = conn.Close() }()
					if err := exchange(conn, uint64(i), 1000); err != nil {
						t.Errorf("stream %d: %v", i, err)
					}
				})
			}
			opens.Wait()
		})
	}
}

// exchange sends n pseudo-random bytes to an echoing server and compares the
// hash of what comes back.
func exchange(conn net.Conn, seed uint64, n int64) error {
	random := func() io.Reader {
		return io.LimitReader(rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1}), n)
	}
	want, got := sha256.New(), sha256.New()
	if _, err := io.Copy(want, random()); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, random())
		if err == nil {
			err = closeWrite(conn)
		}
		sent <- err
	}()
	received, err := io.Copy(got, conn)
	if err != nil {
		return fmt.Errorf("after %d bytes: %w", received, err)
	}
	if err := <-sent; err != nil {
		return err
	}
	if received != n || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		return fmt.Errorf("%d bytes came back, want the same %d", received, n)
	}
	return nil
}

func TestViewersOnOneAgentShareNoQueue(t *testing.T) {
	e := newTLSEdge(t)
	a, _ := connected(t, e, func(o *ClientOptions) {
		echo := vncServer(t, echoServer)
		flood := vncServer(t, func(c net.Conn) {
			_, _ = io.Copy(c, rand.NewChaCha8([32]byte{})) // until the stream is closed
		})
		o.Open = func(ctx context.Context, r OpenRequest) (net.Conn, error) {
			if r.Session == "flood" {
				return flood(ctx, r)
			}
			return echo(ctx, r)
		}
	})
	stalled := mustOpen(t, e, a.id, OpenRequest{Session: "flood", Stream: "reads-nothing"})
	var viewers sync.WaitGroup
	for i := range 20 {
		viewers.Go(func() {
			conn, err := e.hub.Open(deadlined(t), a.id, request(i))
			if err != nil {
				t.Errorf("open %d: %v", i, err)
				return
			}
			defer func() { _ = conn.Close() }()
			if err := exchange(conn, uint64(i), 4<<20); err != nil {
				t.Errorf("viewer %d: %v", i, err)
			}
		})
	}
	viewers.Wait()
	// The stalled one has lost nothing either.
	want, got := make([]byte, 1<<20), make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(want)
	if _, err := io.ReadFull(stalled, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the stalled viewer's stream is broken: %v", err)
	}
}

func TestAgentErrorWhileAStreamIsOpenCrashesNothing(t *testing.T) {
	for name, fault := range map[string]func(*testEdge, *testAgent){
		"a coded error for another stream": func(e *testEdge, a *testAgent) {
			_, err := e.hub.Open(deadlined(t), a.id, OpenRequest{Session: "refused", Stream: "s"})
			wantCode(t, err, CodeVNCRefused)
		},
		"its control channel breaks": func(e *testEdge, a *testAgent) {
			live, _ := e.hub.live(a.id)
			_ = live.channel.ws.CloseNow()
			e.next("down")
			e.next("up")
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t)
			a, _ := connected(t, e, func(o *ClientOptions) {
				echo := vncServer(t, echoServer)
				o.Open = func(ctx context.Context, r OpenRequest) (net.Conn, error) {
					if r.Session == "refused" {
						return nil, Errorf(CodeVNCRefused, "the VNC server refused the connection")
					}
					return echo(ctx, r)
				}
			})
			conn := mustOpen(t, e, a.id, request(1))
			roundTrip(t, conn, "before")
			fault(e, a)
			roundTrip(t, conn, "after")
			roundTrip(t, mustOpen(t, e, a.id, request(2)), "another")
		})
	}
	t.Run("it dies", func(t *testing.T) {
		e := newEdge(t)
		a, _ := connected(t, e, func(o *ClientOptions) { o.Open = vncServer(t, echoServer) })
		conn := mustOpen(t, e, a.id, request(1))
		a.end(t)
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the stream of a dead agent goes on: %v", err)
		}
		e.next("down")
		_, err := e.hub.Open(deadlined(t), a.id, request(2))
		wantCode(t, err, CodeAgentOffline)
	})
}

func TestARefusedOpenKeepsItsConnection(t *testing.T) {
	e := newEdge(t)
	a := welcomedRawAgent(t, e, "")
	conn, reader := a.stream()
	for range 3 {
		result := make(chan error, 1)
		go func() {
			_, err := e.hub.Open(deadlined(t), a.id, request(1))
			result <- err
		}()
		a.awaitOpen(conn, reader)
		answer, err := openAnswerFrame(Errorf(CodeSessionStarts, "Xvnc does not answer yet"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(answer); err != nil {
			t.Fatal(err)
		}
		err = <-result
		wantCode(t, err, CodeSessionStarts)
		if err.Error() != "Xvnc does not answer yet" {
			t.Errorf("text %q", err)
		}
	}
}

func TestADeadSpareIsPassedOver(t *testing.T) {
	e := newEdge(t)
	a := welcomedRawAgent(t, e, "")
	good, reader := a.stream()
	waitSpares(t, e, a.id, 1)
	for i := range 3 { // younger, so they are tried first
		dead, _ := a.stream()
		waitSpares(t, e, a.id, i+2)
		_ = dead.Close()
	}
	opened := make(chan net.Conn, 1)
	go func() {
		conn, err := e.hub.Open(deadlined(t), a.id, request(1))
		if err != nil {
			t.Errorf("open: %v", err)
		}
		opened <- conn
	}()
	a.acceptOpen(good, reader)
	if conn := <-opened; conn != nil {
		_ = conn.Close()
	}
}

// waitSpares waits until the hub holds n spares of the agent.
func waitSpares(t testing.TB, e *testEdge, id string, n int) {
	t.Helper()
	live, err := e.hub.live(id)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, fmt.Sprintf("%d spares", n), func() bool {
		live.spares.mu.Lock()
		defer live.spares.mu.Unlock()
		return len(live.spares.idle) == n
	})
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(began) > hang {
			t.Fatalf("%s: not within %v", what, hang)
		}
	}
}

func TestOpensInFlightFailWhenTheTunnelGoesDown(t *testing.T) {
	for name, wait := range map[string]func(*rawAgent){
		"waiting for a spare": func(a *rawAgent) {
			if m := a.hear(); m.Streams == nil || m.Streams.More != 1 {
				t.Errorf("got %+v, want a request for one stream connection", m)
			}
		},
		"waiting for the answer": func(a *rawAgent) {
			conn, reader := a.stream()
			a.answerEcho(conn, reader)
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t)
			a := welcomedRawAgent(t, e, "")
			result := make(chan error, 1)
			go func() {
				_, err := e.hub.Open(deadlined(t), a.id, request(1))
				result <- err
			}()
			wait(a)
			e.hub.Disconnect(a.id, Errorf(CodeTimeout, "a test"))
			wantCode(t, <-result, CodeAgentOffline)
		})
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	e := newEdge(t)
	a := welcomedRawAgent(t, e, "")
	conn, reader := a.stream()
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		_, err := e.hub.Open(ctx, a.id, request(1))
		result <- err
	}()
	a.answerEcho(conn, reader)
	if _, _, err := readFrame(reader); err != nil {
		t.Fatal(err)
	}
	cancel()
	wantCode(t, <-result, CodeTimeout)
	if _, err := reader.ReadByte(); err == nil {
		t.Error("the connection of a given-up open is still in use")
	}
}

func TestMetricsCount(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics := NewMetrics(registry)
	e := newEdge(t, func(o *HubOptions) { o.Metrics = metrics; o.Spares = 2 })
	a, _ := connected(t, e, func(o *ClientOptions) {
		echo := vncServer(t, echoServer)
		o.Open = func(ctx context.Context, r OpenRequest) (net.Conn, error) {
			if r.Session == "none" {
				return nil, Errorf("a word of the agent's own", "no")
			}
			return echo(ctx, r)
		}
	})
	eventually(t, "2 spares", func() bool { return gathered(t, registry, "streamspace_tunnel_spares") == 2 })
	roundTrip(t, mustOpen(t, e, a.id, request(1)), "hello")
	_, err := e.hub.Open(deadlined(t), a.id, OpenRequest{Session: "none", Stream: "s"})
	wantCode(t, err, "a word of the agent's own")
	_, err = e.hub.Open(deadlined(t), "nobody", request(2))
	wantCode(t, err, CodeAgentOffline)
	for result, want := range map[string]float64{"ok": 1, "other": 1, "agent_offline": 1} {
		if got := gathered(t, registry, "streamspace_tunnel_opens_total", result); got != want {
			t.Errorf("%v opens with result %s, want %v", got, result, want)
		}
	}
	if got := gathered(t, registry, "streamspace_tunnel_agents"); got != 1 {
		t.Errorf("%v agents, want 1", got)
	}
	// The stream outlives its control channel, and the next one's first beat tells of it.
	e.hub.Disconnect(a.id, Errorf(CodeTimeout, "a test"))
	e.next("down")
	e.next("up")
	eventually(t, "one active stream", func() bool { return gathered(t, registry, "streamspace_tunnel_streams_active") == 1 })
	a.end(t)
	e.next("down")
	eventually(t, "all gauges at zero", func() bool {
		return gathered(t, registry, "streamspace_tunnel_agents") == 0 && gathered(t, registry, "streamspace_tunnel_streams_active") == 0 && gathered(t, registry, "streamspace_tunnel_spares") == 0
	})
}

// gathered is the value of the gauge or counter with this name and label.
func gathered(t testing.TB, registry *prometheus.Registry, name string, label ...string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			if len(label) == 0 || metric.GetLabel()[0].GetValue() == label[0] {
				return metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s %v", name, label)
	return 0
}
