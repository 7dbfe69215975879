package hop

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamspace-dev/streamspace-edge/proxy/tunnel"
)

func eachTransport(t *testing.T, test func(t *testing.T, plain bool)) {
	t.Run("tls", func(t *testing.T) { test(t, false) })
	t.Run("plain", func(t *testing.T) { test(t, true) })
}

// TestBytesGoBothWaysAndHalfCloseIsPassedOn, and what the server says at once is
// not lost behind the answer.
func TestBytesGoBothWaysAndHalfCloseIsPassedOn(t *testing.T) {
	eachTransport(t, func(t *testing.T, plain bool) {
		to := startHome(t, plain, vncServer(t, !plain, greetAndEcho))
		conn := mustDial(t, startViewerEdge(t), to)
		wantBytes(t, conn, "RFB 003.008\n")
		sent := make([]byte, 5<<20)
		_, _ = rand.Read(sent)
		wrote := make(chan error, 1)
		go func() {
			_, err := conn.Write(sent)
			if err == nil {
				err = conn.(interface{ CloseWrite() error }).CloseWrite()
			}
			wrote <- err
		}()
		got, err := io.ReadAll(conn)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d bytes of %d are back, %v", len(got), len(sent), err)
		}
		if err := <-wrote; err != nil {
			t.Error(err)
		}
	})
}

func TestFramesStayFrames(t *testing.T) {
	open := vncServer(t, false, greetAndEcho)
	to := startHome(t, false, func(ctx context.Context, agent string, o tunnel.OpenRequest) (net.Conn, error) {
		if !o.WebSocket || o.Session != "session" || o.Stream != "stream" {
			t.Errorf("asked for %+v", o)
		}
		conn, err := open(ctx, agent, o)
		return &tunnel.WebSocket{Conn: conn}, err
	})
	conn := mustDial(t, startViewerEdge(t), to)
	if _, framed := conn.(*tunnel.WebSocket); !framed {
		t.Errorf("it is a %T", conn)
	}
	wantBytes(t, conn, "RFB 003.008\n")
}

// TestTheAgentsWordComesThrough: code and text of a refusal.
func TestTheAgentsWordComesThrough(t *testing.T) {
	for _, refusal := range []*tunnel.Error{
		tunnel.Errorf(tunnel.CodeVNCRefused, "the VNC server refused the connection"),
		tunnel.Errorf(tunnel.CodeSessionStarts, "%s", strings.Repeat("<ü", 10_000)),
	} {
		to := startHome(t, false, func(context.Context, string, tunnel.OpenRequest) (net.Conn, error) { return nil, refusal })
		_, err := startViewerEdge(t).Dial(deadlined(t), to.peer, "agent", request)
		var said *tunnel.Error
		var unreachable *Unreachable
		if !errors.As(err, &said) || said.Code != refusal.Code || !strings.HasPrefix(refusal.Text, said.Text) || said.Text == "" || errors.As(err, &unreachable) {
			t.Errorf("error %v", err)
		}
	}
}

func TestAPeerThatCanNotBeReachedIsToldApart(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := listener.Addr().String()
	_ = listener.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	to := startHome(t, false, vncServer(t, false, greetAndEcho))
	silent, err := net.Listen("tcp", "127.0.0.1:0") // a stopped process: the kernel accepts
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	wrongPin := to.peer
	wrongPin.Pin = "sha256:" + strings.Repeat("0", 64)
	noPin := to.peer
	noPin.Pin = ""
	for name, c := range map[string]struct {
		peer Peer
		text string
	}{
		"refused":     {Peer{ID: "home", URL: "http://" + gone}, "refused"},
		"no edge":     {Peer{ID: "home", URL: other.URL}, "404"},
		"wrong pin":   {wrongPin, "not the pinned one"},
		"no chain":    {noPin, "certificate"},
		"not TLS":     {Peer{ID: "home", URL: strings.Replace(other.URL, "http", "https", 1)}, "TLS"},
		"silent":      {Peer{ID: "home", URL: "http://" + silent.Addr().String()}, "timeout"},
		"no address":  {Peer{ID: "home", URL: "nowhere"}, "no address"},
		"silent, TLS": {Peer{ID: "home", URL: "https://" + silent.Addr().String()}, "deadline"},
	} {
		t.Run(name, func(t *testing.T) {
			from := startViewerEdge(t)
			if strings.HasPrefix(name, "silent") {
				from.times.dial = 50 * time.Millisecond
			}
			_, err := from.Dial(deadlined(t), c.peer, "agent", request)
			var unreachable *Unreachable
			var said *tunnel.Error
			if !errors.As(err, &unreachable) || unreachable.Peer != "home" || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %q", err, c.text)
			}
			if !errors.As(err, &said) || said.Code != tunnel.CodeUnavailable {
				t.Errorf("its code is of %v", said)
			}
			ctx := deadlined(t)
			if strings.HasPrefix(name, "silent") {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
				defer cancel()
			}
			if err := from.Probe(ctx, c.peer); err == nil {
				t.Error("its probe is good")
			}
		})
	}
}

func TestACertificateOfTheClustersCAIsEnough(t *testing.T) {
	to := startHome(t, false, vncServer(t, false, greetAndEcho))
	peer := to.peer
	peer.Pin = ""
	from := startViewerEdge(t, func(o *Options) { o.CAFile = caFile(t, to.certificate) })
	conn, err := from.Dial(deadlined(t), peer, "agent", request)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	for _, p := range []Peer{peer, to.peer} { // the pin counts where there is one
		if err := from.Probe(deadlined(t), p); err != nil {
			t.Error(err)
		}
	}
}

func TestEdgesOfAnotherSecretAreRefused(t *testing.T) {
	to := startHome(t, false, vncServer(t, false, greetAndEcho))
	from := startViewerEdge(t, func(o *Options) { o.Secret = []byte("another secret of the same size!") })
	_, err := from.Dial(deadlined(t), to.peer, "agent", request)
	wantCode(t, err, tunnel.CodeUnauthorized)
}

func wantCode(t *testing.T, err error, code tunnel.Code) {
	t.Helper()
	var said *tunnel.Error
	if !errors.As(err, &said) || said.Code != code {
		t.Errorf("error %v, want code %s", err, code)
	}
}

// TestADrainRefusesNewStreams until it is taken back, and leaves those that run.
func TestADrainRefusesNewStreams(t *testing.T) {
	to := startHome(t, false, vncServer(t, false, greetAndEcho))
	from := startViewerEdge(t)
	conn := mustDial(t, from, to)
	wantBytes(t, conn, "RFB 003.008\n")
	to.Drain()
	_, err := from.Dial(deadlined(t), to.peer, "agent", request)
	wantCode(t, err, tunnel.CodeNodeDraining)
	to.Resume()
	again := mustDial(t, from, to)
	wantBytes(t, again, "RFB 003.008\n")
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	to.Drain()
	if _, err := io.WriteString(conn, "still here"); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, conn, "still here")
	for deadline := time.Now().Add(hang); to.Active() != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d active", to.Active())
		}
	}
	if err := to.Close(deadlined(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("it goes on after Close")
	}
	if to.Active() != 0 {
		t.Errorf("%d active", to.Active())
	}
}

// TestAnAbortOfEitherEndEndsBoth.
func TestAnAbortOfEitherEndEndsBoth(t *testing.T) {
	eachTransport(t, func(t *testing.T, plain bool) {
		ended := make(chan error, 1)
		hold := func(c net.Conn) {
			_, _ = io.WriteString(c, "RFB 003.008\n")
			_, err := io.Copy(io.Discard, c)
			ended <- err
		}
		to := startHome(t, plain, vncServer(t, false, hold))
		conn := mustDial(t, startViewerEdge(t), to)
		wantBytes(t, conn, "RFB 003.008\n")
		reset(t, conn)
		select {
		case <-ended:
		case <-time.After(hang):
			t.Fatal("the server's end stays open")
		}

		abort := func(c net.Conn) {
			_, _ = io.WriteString(c, "RFB 003.008\n")
			_, _ = c.Read(make([]byte, 1))
			reset(t, c)
		}
		to = startHome(t, plain, vncServer(t, false, abort))
		conn = mustDial(t, startViewerEdge(t), to)
		wantBytes(t, conn, "RFB 003.008\n")
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d bytes after the server's end", n)
		}
	})
}

// reset ends the TCP connection below c with a RST.
func reset(t *testing.T, c net.Conn) {
	t.Helper()
	for {
		below, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = below.NetConn()
	}
	if wrapped, ok := c.(interface{ SetLinger(int) error }); ok {
		if err := wrapped.SetLinger(0); err != nil {
			t.Error(err)
		}
	}
	_ = c.Close()
}

// TestADialThatIsGivenUpLeavesNothing: while the agent is asked, and before.
func TestADialThatIsGivenUpLeavesNothing(t *testing.T) {
	asked := make(chan struct{}, 1)
	release := make(chan struct{})
	open := vncServer(t, false, greetAndEcho)
	to := startHome(t, false, func(ctx context.Context, agent string, o tunnel.OpenRequest) (net.Conn, error) {
		asked <- struct{}{}
		<-release
		return open(ctx, agent, o)
	})
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	from := startViewerEdge(t)
	go func() {
		_, err := from.Dial(ctx, to.peer, "agent", request)
		failed <- err
	}()
	<-asked
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	close(release) // the agent's connection is there now, for nobody: Close waits until it has ended
	if _, err := from.Dial(ctx, to.peer, "agent", request); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestWhatIsNoHopIsRefused(t *testing.T) {
	to := startHome(t, true, vncServer(t, false, greetAndEcho))
	response, err := http.Get(to.peer.URL + Path)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "bad_request") {
		t.Errorf("%s: %s", response.Status, body)
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestAThousandStreamsLeaveNothing: no goroutine (TestMain looks for those), and
// no descriptor.
func TestAThousandStreamsLeaveNothing(t *testing.T) {
	to := startHome(t, false, vncServer(t, false, greetAndEcho))
	from := startViewerEdge(t)
	one := func() {
		conn, err := from.Dial(deadlined(t), to.peer, "agent", request)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(hang))
		got := make([]byte, 12)
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != "RFB 003.008\n" {
			t.Errorf("%q, %v", got, err)
		}
	}
	one() // what is there once stays
	settled := func() bool { return to.Active() == 0 }
	waitUntil(t, "the first stream has ended", settled)
	before := descriptors(t)
	var streams sync.WaitGroup
	for range 20 {
		streams.Go(func() {
			for range 50 {
				one()
			}
		})
	}
	streams.Wait()
	waitUntil(t, "all streams have ended", settled)
	waitUntil(t, "the descriptors are back", func() bool { return descriptors(t) <= before })
}

func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(hang); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for: %s", what)
		}
	}
}

// descriptors counts this process's; 0 where they can't be seen.
func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil && runtime.GOOS == "linux" {
		t.Fatal(err)
	}
	return len(all)
}

func TestATokenIsGoodOnce(t *testing.T) {
	to := startHome(t, true, vncServer(t, false, greetAndEcho))
	signed, err := to.sign(newToken("viewers", "home", "agent", request, time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{http.StatusSwitchingProtocols, http.StatusUnauthorized, http.StatusUnauthorized} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(to.peer.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(hang))
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s: %s\r\n\r\n", Path, Protocol, HeaderToken, signed)
		wantBytes(t, conn, fmt.Sprintf("HTTP/1.1 %d ", want))
		_ = conn.Close()
	}
}
